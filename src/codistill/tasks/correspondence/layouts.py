"""Layouts of pairs of views with poses and depth: those of the two-view tasks, NAVI and ScanNet's 1500 test pairs."""

from codistill.tasks.correspondence.navi import NAVI_LAYOUT, open_navi
from codistill.tasks.correspondence.scannet import SCANNET_LAYOUT, open_scannet
from codistill.tasks.layout import Layout
from codistill.tasks.two_view.layouts import LAYOUTS as PAIRS

LAYOUTS = {
    "world": PAIRS["world"],
    "folder": PAIRS["folder"],
    "navi": Layout(open_navi, NAVI_LAYOUT, ("test",)),
    "scannet": Layout(open_scannet, SCANNET_LAYOUT, ("test",)),
}

"""Where posed pairs with depth lie: those of the two-view tasks, NAVI and ScanNet's 1500 test pairs."""

from collections.abc import Callable

from codistill.tasks.correspondence.navi import NAVI_LAYOUT, open_navi
from codistill.tasks.correspondence.scannet import SCANNET_LAYOUT, open_scannet
from codistill.tasks.task import Layout, TaskData, Where
from codistill.tasks.two_view.layouts import FOLDER_LAYOUT, KINDS


def _pairs(kind: str) -> Callable[[Where], TaskData]:
    """Pairs of the two-view tasks."""

    def opened(where: Where) -> TaskData:
        return TaskData(spec=where.spec, split=where.split, samples=KINDS[kind](where.root, where.split))

    return opened


LAYOUTS = {
    "world": Layout(_pairs("world"), "rooms of the embedded world", ("train", "val", "test")),
    "folder": Layout(_pairs("folder"), FOLDER_LAYOUT, ()),
    "navi": Layout(open_navi, NAVI_LAYOUT, ("test",)),
    "scannet": Layout(open_scannet, SCANNET_LAYOUT, ("test",)),
}

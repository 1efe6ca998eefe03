"""`codistill bench matching`: fast reciprocal against full mutual matching of two dense descriptor maps.

The maps are made, so that the truth is known everywhere: unit descriptors of points of a textured plane, seen a second
time through a homography (turned, nearer, tilted), with noise on both.
"""

import argparse
from pathlib import Path


def make_parser() -> argparse.ArgumentParser:
    """The command's parser."""
    parser = argparse.ArgumentParser(prog="codistill bench matching", description=__doc__)
    parser.add_argument("--size", default="384x512", metavar="ROWSxCOLUMNS", help="of the maps (384x512)")
    parser.add_argument("--channels", type=int, default=24, help="of the descriptors (24)")
    parser.add_argument("--noise", type=float, default=0.3, help="length of each descriptor's noise (0.3)")
    parser.add_argument("--fast-only", action="store_true", help="leave the full mutual matcher out")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"), help="(auto)")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch on a CPU (1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there as well")
    return parser


def parse(argv: list[str]) -> argparse.Namespace:
    """The arguments; ends the process where argparse has something to say."""
    return make_parser().parse_args(argv)

"""Options of `codistill analyze`."""

import argparse
from pathlib import Path


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="codistill analyze",
        description="Of a run: explained variance of teachers and projections, and how teachers' losses move "
        "together. Of any encoders, on images: features as colours, attention maps, nearest patches.",
    )
    parser.add_argument(
        "targets",
        nargs="+",
        metavar="RUN|E",
        help="runs of `distill`; with --images, what load_encoder takes",
    )
    parser.add_argument("--images", nargs="+", metavar="IMAGE", help="look at these with every encoder")
    parser.add_argument("--size", type=int, default=448, help="shorter side in pixels, before rounding (448)")
    parser.add_argument("--block", type=int, default=-1, help="block of the attention maps (-1: the last)")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where figures and numbers go (RUN/analysis, or `analysis`)"
    )
    return parser


def parse(argv: list[str]) -> argparse.Namespace:
    return make_parser().parse_args(argv)

"""Options of `codistill analyze`."""

import argparse
from pathlib import Path

PARSER = argparse.ArgumentParser(
    prog="codistill analyze",
    description="Of a run: explained variance of teachers and projections, and how teachers' losses move "
    "together. Of any encoders, on images: features as colours, attention maps, nearest patches.",
)
add = PARSER.add_argument
add("targets", nargs="+", metavar="RUN|E", help="runs of `distill`; with --images, what load_encoder takes")
add("--images", nargs="+", metavar="IMAGE", help="look at these with every encoder")
add("--size", type=int, default=448, help="shorter side in pixels, before rounding (448)")
add("--block", type=int, default=-1, help="block of the attention maps (-1: the last)")
add(
    "--register-neurons",
    type=int,
    metavar="N",
    help="with --images: find the N hidden units that make long tokens",
)
add("--out", type=Path, metavar="DIR", help="where figures and numbers go (RUN/analysis, or `analysis`)")

parse = PARSER.parse_args

"""Options of `codistill demo`."""

import argparse
from pathlib import Path

PARSER = argparse.ArgumentParser(
    prog="codistill demo",
    description="A small world, a student from DINOv2 and two stand-ins, its numbers, its features.",
)
add = PARSER.add_argument
add("--out", type=Path, default=Path("runs/demo"), metavar="DIR", help="(runs/demo)")
add(
    "--teacher",
    default="dinov2_vits14",
    metavar="E",
    help="the generic teacher: a file, or a known name looked for in the cache, in CODISTILL_WEIGHTS and on the "
    "network (dinov2_vits14)",
)
add("--steps", type=int, metavar="N", help="training steps (the recipe's)")

parse = PARSER.parse_args

"""Options of `codistill demo`."""

import argparse
from pathlib import Path

from codistill.commands.parsers.paths import named_path

PARSER = argparse.ArgumentParser(
    prog="codistill demo",
    description="A small world, a student distilled live from three specialists, and all one encoder sees, as a page.",
)
add = PARSER.add_argument
add("--out", type=named_path, default=Path("runs/demo"), metavar="DIR", help="(runs/demo)")
add("--steps", type=int, metavar="N", help="training steps (the recipe's)")
add(
    "--photo",
    type=named_path,
    nargs="+",
    default=[],
    metavar="FILE",
    help="photographs of your own to look at (a portrait that comes with matplotlib)",
)

parse = PARSER.parse_args

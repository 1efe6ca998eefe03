"""Options of `codistill demo`."""

import argparse
from pathlib import Path


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="codistill demo",
        description="A small world, a student from DINOv2 and two stand-ins, its numbers, its features.",
    )
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), metavar="DIR", help="(runs/demo)")
    parser.add_argument(
        "--teacher",
        default="dinov2_vits14",
        metavar="E",
        help="the generic teacher: a file, or a known name looked for in the cache, in CODISTILL_WEIGHTS and on the "
        "network (dinov2_vits14)",
    )
    parser.add_argument("--steps", type=int, metavar="N", help="training steps (the recipe's)")
    return parser


def parse(argv: list[str]) -> argparse.Namespace:
    return make_parser().parse_args(argv)

"""Options of `codistill report`."""

import argparse
from pathlib import Path


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="codistill report",
        description="One HTML page about a run, or about heads of one task side by side.",
    )
    parser.add_argument(
        "run", type=Path, nargs="+", metavar="RUN", help="a run of `distill`, or heads of `fit`"
    )
    parser.add_argument("--out", type=Path, metavar="HTML", help="(RUN/report.html)")
    parser.add_argument("--curves", type=Path, metavar="PNG", help="of heads (curves.png beside the page)")
    return parser


def parse(argv: list[str]) -> argparse.Namespace:
    return make_parser().parse_args(argv)

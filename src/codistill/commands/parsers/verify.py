"""Options of `codistill verify`."""

import argparse
from pathlib import Path

from codistill.files.literals import literal

SUITES: tuple[str, ...] = literal("codistill.verify.suite", "SUITES")


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="codistill verify",
        description="Compare with recorded numbers of the published implementations.",
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="a folder of recorded numbers")
    parser.add_argument(
        "--only", choices=sorted(SUITES), action="append", help="these suites only; repeatable"
    )
    parser.add_argument("--quiet", action="store_true", help="failures and the last line only")
    return parser


def parse(argv: list[str]) -> argparse.Namespace:
    return make_parser().parse_args(argv)

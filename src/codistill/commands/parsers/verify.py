"""Options of `codistill verify`."""

import argparse

from codistill.commands.parsers.paths import named_path
from codistill.files.literals import literal

SUITES: tuple[str, ...] = literal("codistill.verify.suite", "SUITES")


PARSER = argparse.ArgumentParser(
    prog="codistill verify", description="Compare with recorded numbers of the published implementations."
)
add = PARSER.add_argument
add(
    "folder",
    type=named_path,
    metavar="DIR",
    help="a folder of recorded numbers, or of models; `models`: those that ship",
)
add("--only", choices=sorted(SUITES), action="append", help="these suites only; repeatable")
add("--quiet", action="store_true", help="failures and the last line only")
add("--json", action="store_true", help="one JSON object at the end instead of lines")

parse = PARSER.parse_args

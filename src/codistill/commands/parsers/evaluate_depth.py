"""What `codistill evaluate depth` may be told."""

import argparse

from codistill.commands.parsers import fit_depth
from codistill.commands.parsers.evaluation_options import add_evaluation_options, check_evaluation


def make_parser() -> argparse.ArgumentParser:
    """The command's parser."""
    parser = argparse.ArgumentParser(
        prog="codistill evaluate depth",
        description="Score a depth head. Without --head, one is fitted first (see `codistill fit depth`), in "
        "OUT/head. With --head, --encoder puts another encoder under it. NYU's val split is its test list.",
    )
    add_evaluation_options(parser, released=".pth", margin="RMSE, metres")
    parser.add_argument("--no-mirror", action="store_true", help="do not average with the mirrored image")
    fit_depth.add_options(parser)
    return parser


def parse(argv: list[str]) -> argparse.Namespace:
    """The arguments; ends the process where argparse has something to say."""
    parser = make_parser()
    return check_evaluation(parser, parser.parse_args(argv), fit_depth.PROTOCOLS)

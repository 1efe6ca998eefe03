"""What `codistill evaluate people` may be told."""

import argparse

from codistill.commands.parsers import fit_people
from codistill.commands.parsers.evaluation_options import add_evaluation_options, check_evaluation
from codistill.commands.parsers.people import add_test_options


def make_parser() -> argparse.ArgumentParser:
    """The command's parser."""
    parser = argparse.ArgumentParser(
        prog="codistill evaluate people",
        description="Score a human-mesh head. Without --head, one is fitted first (see `codistill fit people`), in "
        "OUT/head. With --head, --encoder puts another encoder under it.",
    )
    add_evaluation_options(parser, released="Multi-HMR", margin="of --score")
    parser.add_argument(
        "--mean-body",
        action="store_true",
        help="baseline: the training set's mean body wherever the head finds someone",
    )
    parser.add_argument("--score", default="pa_pve", help="score of the paired difference (pa_pve)")
    parser.add_argument(
        "--cells",
        type=int,
        metavar="N",
        help="as published: of two people whose heads are in one cell of a grid of N x N, only the nearer counts "
        "(everybody counts)",
    )
    add_test_options(parser)
    fit_people.add_options(parser)
    return parser


def parse(argv: list[str]) -> argparse.Namespace:
    """The arguments; ends the process where argparse has something to say."""
    parser = make_parser()
    return check_evaluation(parser, parser.parse_args(argv), fit_people.KINDS)

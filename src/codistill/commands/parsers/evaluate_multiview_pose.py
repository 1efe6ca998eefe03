"""What `codistill evaluate multiview-pose` may be told."""

import argparse

from codistill.commands.parsers.multiview_options import add_options, check_views
from codistill.commands.parsers.two_view_options import (
    add_robust_options,
    refuse_without_effect,
    robust_config,
)
from codistill.files.literals import literal

ESTIMATORS: tuple[str, ...] = literal("codistill.tasks.two_view.multiview.predict", "ESTIMATORS")
TASK = "multiview-pose"


def make_parser() -> argparse.ArgumentParser:
    """The command's parser."""
    parser = argparse.ArgumentParser(
        prog=f"codistill evaluate {TASK}",
        description="Relative poses of all pairs of some random views of every sequence, without given intrinsics: "
        "shares of rotations and of directions of translation within 5, 15 and 30 degrees, and mAA(30).",
    )
    add_options(parser)
    parser.add_argument(
        "--estimator",
        choices=ESTIMATORS,
        default=ESTIMATORS[0],
        help="matches and an essential matrix (MASt3R), PnP on points (DUSt3R), or the alignment of all views "
        "together (%(default)s)",
    )
    parser.add_argument("--frames", type=int, default=10, metavar="N", help="views of each sequence (10)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw of views (0)")
    parser.add_argument("--subsample", type=int, default=8, metavar="PX", help="distance of match seeds (8)")
    parser.add_argument("--iterations", type=int, help="of the alignment; 0 keeps its first guess (300)")
    add_robust_options(parser)
    return parser


def parse(argv: list[str]) -> argparse.Namespace:
    """The arguments, checked; ends the process where argparse has something to say.

    Raises:
        ConfigError: where it is not said on what, or an option would have no effect.
    """
    arguments = make_parser().parse_args(argv)
    estimator = arguments.estimator
    if estimator == "matches":
        refuse_without_effect(arguments, ("pnp",), "matches give an essential matrix")
    if estimator != "alignment":
        refuse_without_effect(arguments, ("iterations",), f"--estimator {estimator} aligns nothing")
    robust_config(arguments)
    return check_views(arguments)

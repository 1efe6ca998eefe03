"""What `codistill evaluate multiview-pose` may be told."""

import argparse

from codistill.commands.parsers.multiview_options import add_options, check_views
from codistill.files.literals import literal

ESTIMATORS: tuple[str, ...] = literal("codistill.tasks.multiview.predict", "ESTIMATORS")
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
    parser.add_argument(
        "--iterations", type=int, default=300, help="of the alignment; 0 keeps its first guess (300)"
    )
    return parser


def parse(argv: list[str]) -> argparse.Namespace:
    """The arguments; ends the process where argparse has something to say."""
    return check_views(make_parser().parse_args(argv))

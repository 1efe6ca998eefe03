"""What `codistill evaluate multiview-depth` may be told."""

import argparse

from codistill.commands.parsers.multiview_options import add_options, check_views
from codistill.files.literals import literal

ALIGNMENTS: tuple[str, ...] = literal("codistill.tasks.two_view.multiview.evaluate_depth", "ALIGNMENTS")
ORDERS: tuple[str, ...] = literal("codistill.tasks.two_view.multiview.evaluate_depth", "ORDERS")
TASK = "multiview-depth"


def make_parser() -> argparse.ArgumentParser:
    """The command's parser."""
    parser = argparse.ArgumentParser(
        prog=f"codistill evaluate {TASK}",
        description="Depth of a key view as the Robust MVD benchmark measures it: one pair with every source, the "
        "depths of growing sets of sources fused by confidence, the best set scored against the key's true depth.",
    )
    add_options(parser)
    parser.add_argument(
        "--sources",
        choices=ORDERS,
        default=ORDERS[0],
        help="order in which sources are added: by their own error, which uses the truth, or by their distance "
        "to the key in the list of views (%(default)s)",
    )
    parser.add_argument("--max-sources", type=int, metavar="N", help="sources at most (all)")
    parser.add_argument(
        "--alignment",
        choices=ALIGNMENTS,
        default=ALIGNMENTS[0],
        help="of the prediction to the truth (%(default)s)",
    )
    parser.add_argument("--pictures", type=int, default=6, metavar="N", help="samples in pictures.png (6)")
    return parser


def parse(argv: list[str]) -> argparse.Namespace:
    """The arguments; ends the process where argparse has something to say."""
    return check_views(make_parser().parse_args(argv))

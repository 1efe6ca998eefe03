"""What `codistill fit segmentation` may be told."""

import argparse
from pathlib import Path

from codistill.commands.parsers.head_options import (
    add_feature_options,
    add_fit_options,
    add_runtime_options,
    check_fit,
)
from codistill.files.literals import literal

PROTOCOLS: tuple[str, ...] = literal("codistill.tasks.dense.segmentation.data", "PROTOCOLS")
CACHED_RATES: tuple[float, ...] = literal("codistill.tasks.dense.segmentation.fit", "CACHED_RATES")
RATE: float = literal("codistill.tasks.dense.segmentation.fit", "OPTIM.lr")
DECAY: float = literal("codistill.tasks.dense.segmentation.fit", "OPTIM.weight_decay")
NORM = True


def add_options(parser: argparse.ArgumentParser) -> None:
    """What fitting needs, for `fit` and for an `evaluate` that fits first."""
    parser.add_argument("--data", metavar="SPEC", help=f"KIND:FOLDER; kinds: {', '.join(PROTOCOLS)}")
    add_feature_options(parser, NORM)
    add_fit_options(parser, rates=CACHED_RATES, published=f"{RATE:g}", pixels=256, decay=DECAY)
    parser.add_argument(
        "--labelled-only",
        action="store_true",
        help="divide the loss by labelled pixels, not by all (the protocol)",
    )
    add_runtime_options(parser)


def make_parser() -> argparse.ArgumentParser:
    """The command's parser."""
    parser = argparse.ArgumentParser(
        prog="codistill fit segmentation",
        description="Fit a linear segmentation head on frozen features; the same command again goes on.",
    )
    add_options(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="HEAD", help="folder of the head")
    return parser


def parse(argv: list[str]) -> argparse.Namespace:
    """The arguments, checked; ends the process where argparse has something to say."""
    return check_fit(make_parser().parse_args(argv), PROTOCOLS)

"""What `codistill fit depth` may be told."""

import argparse
from pathlib import Path

from codistill.commands.parsers.head_options import (
    add_feature_options,
    add_fit_options,
    add_runtime_options,
    check_fit,
)
from codistill.files.literals import literal

PROTOCOLS: tuple[str, ...] = literal("codistill.tasks.dense.depth.data", "PROTOCOLS")
CACHED_RATES: tuple[float, ...] = literal("codistill.tasks.dense.depth.fit", "CACHED_RATES")
PUBLISHED_RATES: tuple[float, ...] = literal("codistill.tasks.dense.depth.fit", "PUBLISHED_RATES")
RATE: float = literal("codistill.tasks.dense.depth.fit", "OPTIM.lr")
DECAY: float = literal("codistill.tasks.dense.depth.fit", "OPTIM.weight_decay")
PIXELS: int = literal("codistill.tasks.dense.depth.fit", "DepthFit.pixels")
NORM = False


def add_options(parser: argparse.ArgumentParser) -> None:
    """What fitting needs, for `fit` and for an `evaluate` that fits first."""
    parser.add_argument("--data", metavar="SPEC", help=f"KIND:FOLDER; kinds: {', '.join(PROTOCOLS)}")
    add_feature_options(parser, NORM)
    sweep = f"{RATE:g}; try {','.join(f'{rate:g}' for rate in PUBLISHED_RATES)}"
    add_fit_options(parser, rates=CACHED_RATES, published=sweep, pixels=PIXELS, decay=DECAY)
    parser.add_argument(
        "--gradient-loss",
        type=float,
        default=0.0,
        metavar="W",
        help="published: weight of the gradient loss (0)",
    )
    add_runtime_options(parser)


def make_parser() -> argparse.ArgumentParser:
    """The command's parser."""
    parser = argparse.ArgumentParser(
        prog="codistill fit depth",
        description="Fit a linear depth head on frozen features; the same command again goes on.",
    )
    add_options(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="HEAD", help="folder of the head")
    return parser


def parse(argv: list[str]) -> argparse.Namespace:
    """The arguments, checked; ends the process where argparse has something to say."""
    return check_fit(make_parser().parse_args(argv), PROTOCOLS)

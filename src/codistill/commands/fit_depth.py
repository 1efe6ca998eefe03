"""`codistill fit depth --encoder E --data SPEC --out HEAD`: a linear head on frozen features."""

import argparse
from pathlib import Path

from codistill.commands.head_options import (
    add_feature_options,
    add_fit_options,
    add_runtime_options,
    fit_fields,
    make_runtime,
    needed_features,
)
from codistill.engine.distributed import start_process
from codistill.errors import StoppedError
from codistill.tasks.depth.data import PROTOCOLS
from codistill.tasks.depth.fit import CACHED_RATES, OPTIM, PUBLISHED_RATES, DepthFit, fit_depth

NORM = False


def add_options(parser: argparse.ArgumentParser) -> None:
    """What fitting needs, for `fit` and for an `evaluate` that fits first."""
    parser.add_argument("--data", metavar="SPEC", help=f"KIND:FOLDER; kinds: {', '.join(PROTOCOLS)}")
    add_feature_options(parser, NORM)
    sweep = f"{OPTIM.lr:g}; try {','.join(f'{rate:g}' for rate in PUBLISHED_RATES)}"
    add_fit_options(
        parser, rates=CACHED_RATES, published=sweep, pixels=DepthFit.pixels, decay=OPTIM.weight_decay
    )
    parser.add_argument(
        "--gradient-loss",
        type=float,
        default=0.0,
        metavar="W",
        help="published: weight of the gradient loss (0)",
    )
    add_runtime_options(parser)


def config_of(arguments: argparse.Namespace) -> DepthFit:
    """The fit that was asked for."""
    return DepthFit(
        features=needed_features(arguments, NORM),
        gradient_loss=arguments.gradient_loss,
        **fit_fields(arguments, CACHED_RATES, OPTIM.lr),
    )


def main(argv: list[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="codistill fit depth",
        description="Fit a linear depth head on frozen features; the same command again goes on.",
    )
    add_options(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="HEAD", help="folder of the head")
    arguments = parser.parse_args(argv)
    config = config_of(arguments)
    with start_process(arguments.device) as process:
        runtime = make_runtime(arguments, arguments.out, ["fit", "depth", *argv], process)
        if not fit_depth(config, runtime, process):
            raise StoppedError("stopped before its end: the same command goes on")
    print(f"{arguments.out}")
    return 0

"""`codistill fit segmentation --encoder E --data SPEC --out HEAD`: a linear head on frozen features."""

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
from codistill.tasks.segmentation.data import PROTOCOLS
from codistill.tasks.segmentation.fit import CACHED_RATES, OPTIM, SegmentationFit, fit_segmentation

NORM = True


def add_options(parser: argparse.ArgumentParser) -> None:
    """What fitting needs, for `fit` and for an `evaluate` that fits first."""
    parser.add_argument("--data", metavar="SPEC", help=f"KIND:FOLDER; kinds: {', '.join(PROTOCOLS)}")
    add_feature_options(parser, NORM)
    add_fit_options(
        parser, rates=CACHED_RATES, published=f"{OPTIM.lr:g}", pixels=256, decay=OPTIM.weight_decay
    )
    parser.add_argument(
        "--labelled-only",
        action="store_true",
        help="divide the loss by labelled pixels, not by all (the protocol)",
    )
    add_runtime_options(parser)


def config_of(arguments: argparse.Namespace) -> SegmentationFit:
    """The fit that was asked for."""
    return SegmentationFit(
        features=needed_features(arguments, NORM),
        ignored_count=not arguments.labelled_only,
        **fit_fields(arguments, CACHED_RATES, OPTIM.lr),
    )


def main(argv: list[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="codistill fit segmentation",
        description="Fit a linear segmentation head on frozen features; the same command again goes on.",
    )
    add_options(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="HEAD", help="folder of the head")
    arguments = parser.parse_args(argv)
    config = config_of(arguments)
    with start_process(arguments.device) as process:
        runtime = make_runtime(arguments, arguments.out, ["fit", "segmentation", *argv], process)
        if not fit_segmentation(config, runtime, process):
            raise StoppedError("stopped before its end: the same command goes on")
    print(f"{arguments.out}")
    return 0

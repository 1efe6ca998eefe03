"""`codistill fit segmentation --encoder E --data SPEC --out HEAD`: a linear head on frozen features."""

import argparse

from codistill.commands.head_options import fit_fields, make_runtime, needed_features
from codistill.commands.parsers.fit_segmentation import NORM, parse
from codistill.engine.distributed import start_process
from codistill.errors import StoppedError
from codistill.tasks.dense.segmentation.fit import CACHED_RATES, OPTIM, SegmentationFit, fit_segmentation


def config_of(arguments: argparse.Namespace) -> SegmentationFit:
    """The fit that was asked for."""
    return SegmentationFit(
        features=needed_features(arguments, NORM),
        ignored_count=not arguments.labelled_only,
        **fit_fields(arguments, CACHED_RATES, OPTIM.lr),
    )


def main(argv: list[str]) -> int:
    """Run the command."""
    arguments = parse(argv)
    config = config_of(arguments)
    with start_process(arguments.device) as process:
        runtime = make_runtime(arguments, arguments.out, ["fit", "segmentation", *argv], process)
        if not fit_segmentation(config, runtime, process):
            raise StoppedError("stopped before its end: the same command goes on")
    print(f"{arguments.out}")
    return 0

"""`codistill fit depth --encoder E --data SPEC --out HEAD`: a linear head on frozen features."""

import argparse

from codistill.commands.head_options import fit_fields, make_runtime, needed_features
from codistill.commands.parsers.fit_depth import NORM, parse
from codistill.engine.distributed import start_process
from codistill.errors import StoppedError
from codistill.tasks.dense.depth.fit import CACHED_RATES, OPTIM, DepthFit, fit_depth


def config_of(arguments: argparse.Namespace) -> DepthFit:
    """The fit that was asked for."""
    return DepthFit(
        features=needed_features(arguments, NORM),
        gradient_loss=arguments.gradient_loss,
        **fit_fields(arguments, CACHED_RATES, OPTIM.lr),
    )


def main(argv: list[str]) -> int:
    """Run the command."""
    arguments = parse(argv)
    config = config_of(arguments)
    with start_process(arguments.device) as process:
        runtime = make_runtime(arguments, arguments.out, ["fit", "depth", *argv], process)
        if not fit_depth(config, runtime, process):
            raise StoppedError("stopped before its end: the same command goes on")
    print(f"{arguments.out}")
    return 0

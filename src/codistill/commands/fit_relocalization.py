"""`codistill fit relocalization --encoder E --data SPEC --out HEAD`: a two-view head, its encoder frozen or not."""

import argparse
from pathlib import Path

from codistill.commands.head_options import make_runtime
from codistill.commands.parsers.fit_relocalization import parse
from codistill.commands.parsers.head_options import needed_data
from codistill.engine.distributed import start_process
from codistill.errors import ConfigError, StoppedError
from codistill.tasks.two_view.config import TwoViewFit, two_view_fit
from codistill.tasks.two_view.fit import fit_two_view
from codistill.world.dataset import World


def parse_size(text: str | None) -> tuple[int, int] | None:
    """`ROWSxCOLUMNS` or one side.

    Raises:
        ConfigError: for anything else.
    """
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ConfigError(f"--size {text}: write rows and columns in pixels, e.g. 112x112")
    return int(parts[0]), int(parts[-1])


def config_of(arguments: argparse.Namespace) -> TwoViewFit:
    """The fit that was asked for.

    Raises:
        ConfigError: if something is missing or makes no sense.
    """
    if not arguments.encoder:
        raise ConfigError("which encoder? add --encoder E")
    data = needed_data(arguments)
    size = parse_size(arguments.size)
    if size is None and data.startswith("world:"):
        size = (World(Path(data.removeprefix("world:")).expanduser()).size,) * 2
    return two_view_fit(
        arguments.recipe,
        data=data,
        encoder=arguments.encoder,
        size=size,
        init=arguments.init,
        steps=arguments.steps,
        batch_size=arguments.batch_size,
        accumulate=arguments.accumulate,
        lr=arguments.lr,
        matches=arguments.matches,
        views=arguments.views,
        cached=False if arguments.online else None,
        unfreeze=arguments.unfreeze,
        encoder_lr_scale=arguments.encoder_lr_scale,
        limit=arguments.fit_limit,
        seed=arguments.seed,
    )


def main(argv: list[str]) -> int:
    """Run the command."""
    arguments = parse(argv)
    config = config_of(arguments)
    with start_process(arguments.device) as process:
        runtime = make_runtime(arguments, arguments.out, ["fit", "relocalization", *argv], process)
        if not fit_two_view(config, runtime, process):
            raise StoppedError("stopped before its end: the same command goes on")
        if process.is_main:
            print(arguments.out)
    return 0

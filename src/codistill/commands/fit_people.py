"""`codistill fit people --encoder E --data SPEC --out HEAD`: a human-mesh head, its encoder frozen or not."""

import argparse
from dataclasses import replace

from codistill.commands.head_options import make_runtime, needed_features
from codistill.commands.parsers.fit_people import NORM, parse
from codistill.commands.parsers.head_options import needed_data
from codistill.engine.distributed import start_process
from codistill.errors import ConfigError, StoppedError
from codistill.tasks.people.config import PeopleFit
from codistill.tasks.people.fit import fit_people
from codistill.tasks.people.recipes import find_people_recipe


def config_of(arguments: argparse.Namespace) -> PeopleFit:
    """The fit that was asked for."""
    recipe = find_people_recipe(arguments.recipe)
    if arguments.steps is not None:
        recipe = replace(recipe, steps=arguments.steps)
    if arguments.batch_size is not None:
        recipe = replace(recipe, batch_size=arguments.batch_size)
    if arguments.lr is not None:
        recipe = replace(recipe, optim=replace(recipe.optim, lr=arguments.lr))
    if arguments.window is not None:
        recipe = replace(recipe, head=replace(recipe.head, window=tuple(arguments.window)))
    if arguments.online:
        recipe = replace(recipe, stored=False)
    if arguments.window is not None and (arguments.init or not recipe.stored):
        raise ConfigError(
            "--window is read from stored tokens: it has no meaning with --online, --init or --recipe published"
        )
    return PeopleFit(
        data=needed_data(arguments),
        features=needed_features(arguments, NORM),
        recipe=recipe,
        size=arguments.size,
        init=arguments.init,
        unfreeze=arguments.unfreeze,
        encoder_lr_scale=arguments.encoder_lr_scale,
        seed=arguments.seed,
        limit=arguments.fit_limit,
        accumulate=arguments.accumulate,
        partial=arguments.partial,
        validate_every=arguments.validate_every,
    )


def main(argv: list[str]) -> int:
    """Run the command."""
    arguments = parse(argv)
    config = config_of(arguments)
    with start_process(arguments.device) as process:
        runtime = make_runtime(arguments, arguments.out, ["fit", "people", *argv], process)
        if not fit_people(config, runtime, process):
            raise StoppedError("stopped before its end: the same command goes on")
        if process.is_main:
            print(arguments.out)
    return 0

"""`codistill fit people --encoder E --data SPEC --out HEAD`: a human-mesh head, its encoder frozen or not."""

import argparse
from dataclasses import replace
from pathlib import Path

from codistill.commands.head_options import (
    add_feature_options,
    add_runtime_options,
    add_unfreeze_options,
    make_runtime,
    needed_data,
    needed_features,
)
from codistill.engine.distributed import start_process
from codistill.errors import ConfigError, StoppedError
from codistill.tasks.people.config import PeopleFit
from codistill.tasks.people.data import KINDS
from codistill.tasks.people.fit import fit_people
from codistill.tasks.people.recipes import RECIPES, find_people_recipe

NORM = False


def add_options(parser: argparse.ArgumentParser) -> None:
    """What fitting needs, for `fit` and for an `evaluate` that fits first."""
    parser.add_argument("--data", metavar="SPEC", help=f"KIND:FOLDER; kinds: {', '.join(KINDS)}")
    add_feature_options(parser, NORM)
    group = parser.add_argument_group("fitting")
    group.add_argument("--recipe", default="small", metavar="NAME", help=f"{', '.join(RECIPES)} (small)")
    group.add_argument("--steps", type=int, help="optimizer steps (the recipe's)")
    group.add_argument("--batch-size", type=int, help="images of a step (the recipe's)")
    group.add_argument(
        "--accumulate", type=int, default=1, metavar="N", help="batches into which a step is cut (1)"
    )
    group.add_argument("--lr", type=float, help="peak learning rate (the recipe's)")
    group.add_argument(
        "--size", type=int, help="side of the square that the encoder sees, pixels (the data's)"
    )
    group.add_argument(
        "--window",
        type=int,
        nargs=3,
        metavar=("ABOVE", "BELOW", "ASIDE"),
        help="cells around a head's that rotations are read from (small: 1 4 2, for some 12 cells a side)",
    )
    group.add_argument("--init", default="", metavar="FILE", help="start from a released Multi-HMR file")
    group.add_argument(
        "--online", action="store_true", help="encode the views of every step anew (published: always)"
    )
    add_unfreeze_options(group)
    group.add_argument("--fit-limit", type=int, metavar="N", help="train on N images, evenly spread (all)")
    group.add_argument(
        "--validate-every",
        type=int,
        default=0,
        metavar="N",
        help="steps between losses on the val split (0: never)",
    )
    group.add_argument("--seed", type=int, default=0)
    group.add_argument("--cache", type=Path, metavar="DIR", help="where tokens are kept (OUT/cache)")
    group.add_argument("--partial", action="store_true", help="leave out images whose file is missing")
    add_runtime_options(parser)


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
    parser = argparse.ArgumentParser(
        prog="codistill fit people",
        description="Fit a head that finds people and recovers their bodies; the same command again goes on.",
    )
    add_options(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="HEAD", help="folder of the head")
    arguments = parser.parse_args(argv)
    config = config_of(arguments)
    with start_process(arguments.device) as process:
        runtime = make_runtime(arguments, arguments.out, ["fit", "people", *argv], process)
        if not fit_people(config, runtime, process):
            raise StoppedError("stopped before its end: the same command goes on")
        if process.is_main:
            print(arguments.out)
    return 0

"""What `codistill fit people` may be told."""

import argparse
from pathlib import Path

from codistill.commands.parsers.head_options import (
    add_feature_options,
    add_runtime_options,
    add_unfreeze_options,
    check_fit,
)
from codistill.errors import ConfigError, unknown_name
from codistill.files.literals import literal

KINDS: tuple[str, ...] = literal("codistill.tasks.people.data", "KINDS")
RECIPES: tuple[str, ...] = literal("codistill.tasks.people.recipes", "RECIPES")
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


def make_parser() -> argparse.ArgumentParser:
    """The command's parser."""
    parser = argparse.ArgumentParser(
        prog="codistill fit people",
        description="Fit a head that finds people and recovers their bodies; the same command again goes on.",
    )
    add_options(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="HEAD", help="folder of the head")
    return parser


def parse(argv: list[str]) -> argparse.Namespace:
    """The arguments, checked; ends the process where argparse has something to say."""
    arguments = check_fit(make_parser().parse_args(argv), KINDS)
    if arguments.recipe not in RECIPES:
        raise ConfigError(unknown_name("recipe", arguments.recipe, RECIPES))
    return arguments

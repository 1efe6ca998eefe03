"""What `codistill fit relocalization` may be told."""

import argparse
from pathlib import Path

from codistill.commands.parsers.head_options import add_runtime_options, add_unfreeze_options, needed_data
from codistill.errors import ConfigError
from codistill.files.literals import literal
from codistill.files.specs import parse_spec

KINDS: tuple[str, ...] = literal("codistill.tasks.two_view.layouts", "KINDS")
RECIPES: tuple[str, ...] = literal("codistill.tasks.two_view.config", "RECIPES")


def make_parser() -> argparse.ArgumentParser:
    """The command's parser."""
    parser = argparse.ArgumentParser(
        prog="codistill fit relocalization",
        description="Fit a two-view head (pointmaps, confidences, descriptors) on an encoder; the same command "
        "again goes on. Without other options, a recipe's values are taken.",
    )
    parser.add_argument("--data", metavar="SPEC", help=f"KIND:FOLDER; kinds: {', '.join(KINDS)}")
    parser.add_argument(
        "--encoder", metavar="E", help="file, run, export, known name, timm:…, hf:…, random:SIZE"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="HEAD", help="folder of the head")
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="small", help="(small)")
    parser.add_argument("--size", metavar="ROWSxCOLUMNS", help="of the views, e.g. 112x112 (a world's own)")
    parser.add_argument("--init", metavar="FILE", help="start from a released decoder, or a fitted head")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--batch-size", type=int, metavar="N", help="pairs of a step")
    parser.add_argument("--accumulate", type=int, metavar="N", help="batches into which a step is cut")
    parser.add_argument("--lr", type=float)
    parser.add_argument("--matches", type=int, metavar="N", help="correspondences of each pair")
    parser.add_argument("--views", type=int, metavar="N", help="cached: views of each pair")
    parser.add_argument(
        "--online", action="store_true", help="encode fresh views in every step, keep nothing"
    )
    add_unfreeze_options(parser)
    parser.add_argument("--fit-limit", type=int, metavar="N", help="train on N pairs, evenly spread (all)")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--cache", type=Path, metavar="DIR", help="where tokens are kept (HEAD/cache)")
    add_runtime_options(parser)
    return parser


def parse(argv: list[str]) -> argparse.Namespace:
    """The arguments, checked; ends the process where argparse has something to say.

    Raises:
        ConfigError: where encoder or data are not named.
    """
    arguments = make_parser().parse_args(argv)
    if not arguments.encoder:
        raise ConfigError("which encoder? add --encoder E")
    parse_spec(needed_data(arguments), KINDS)
    return arguments

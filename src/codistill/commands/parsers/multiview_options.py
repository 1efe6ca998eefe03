"""Options that both evaluations of several views share."""

import argparse
from pathlib import Path

from codistill.commands.parsers.head_options import (
    add_other_encoder_option,
    add_runtime_options,
    needed_data,
)
from codistill.files.literals import literal
from codistill.files.specs import parse_spec

KINDS: tuple[str, ...] = literal("codistill.tasks.two_view.multiview.data", "KINDS")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Model, data and output."""
    parser.add_argument("--data", metavar="SPEC", help=f"KIND:FOLDER, of {', '.join(KINDS)} (the head's own)")
    parser.add_argument("--head", metavar="DIR", help="of `codistill fit relocalization`")
    parser.add_argument("--model", metavar="FILE", help="a released MASt3R, DUSt3R or DUNE-MASt3R file")
    parser.add_argument("--encoder", metavar="E", help="where the head's encoder is, or the model's")
    add_other_encoder_option(parser)
    parser.add_argument("--long-edge", type=int, metavar="PX", help="image size for the network (its own)")
    parser.add_argument("--split", default="test", help="folder or split of the data set (test)")
    parser.add_argument("--limit", type=int, metavar="N", help="N samples, evenly spread (all)")
    parser.add_argument("--out", type=Path, required=True, metavar="OUT", help="folder of the results")
    add_runtime_options(parser)


def check_views(arguments: argparse.Namespace) -> argparse.Namespace:
    """Refuse an evaluation without data; the arguments.

    Raises:
        ConfigError: where neither data nor a head, which knows its own, is named, or data of no known kind.
    """
    if arguments.data or not arguments.head:
        parse_spec(needed_data(arguments), KINDS)
    return arguments

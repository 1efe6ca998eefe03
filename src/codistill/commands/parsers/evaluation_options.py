"""Options that evaluations of heads share."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from codistill.commands.parsers.head_options import add_other_encoder_option, check_fit
from codistill.errors import ConfigError
from codistill.files.specs import parse_spec


def add_evaluation_options(parser: argparse.ArgumentParser, *, released: str, margin: str) -> None:
    """--head, --split, --limit, --pictures, --against, --margin, --out.

    Args:
        parser: to add to.
        released: kind of file that a head may be.
        margin: unit of --margin.
    """
    parser.add_argument("--head", metavar="HEAD", help=f"a fitted head, or a released {released} file")
    add_other_encoder_option(parser)
    parser.add_argument("--split", help="val or test (the world's test, val elsewhere)")
    parser.add_argument("--limit", type=int, metavar="N", help="score N images, evenly spread (all)")
    parser.add_argument("--pictures", type=int, default=6, metavar="N", help="examples in pictures.png (6)")
    parser.add_argument("--against", type=Path, metavar="OUT", help="paired difference to an evaluation")
    parser.add_argument("--margin", type=float, help=f"call differences within ± margin equal ({margin})")
    parser.add_argument("--out", type=Path, metavar="OUT", help="folder of the results (HEAD/evaluation)")


def check_evaluation(arguments: argparse.Namespace, kinds: Sequence[str] = ()) -> argparse.Namespace:
    """Refuse an evaluation of nothing; the arguments.

    Args:
        arguments: as parsed.
        kinds: of data set that --data may name; none: it names a folder.

    Raises:
        ConfigError: where neither a head nor all that a fit needs is named, or data of no known kind.
    """
    if arguments.data and kinds:
        parse_spec(arguments.data, kinds)
    if arguments.head is not None:
        return arguments
    folder = "SPEC" if kinds else "ROOT"
    if arguments.out is None and not (arguments.encoder or arguments.baseline):
        raise ConfigError(
            f"which head? add --head HEAD, or --encoder E --data {folder} --out OUT to fit one first"
        )
    if arguments.out is None:
        missing = "--out OUT" if arguments.data else f"--data {folder} --out OUT"
        raise ConfigError(f"where to? Without --head HEAD, one is fitted first, in OUT/head: add {missing}")
    return check_fit(arguments, kinds)

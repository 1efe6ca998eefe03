"""Options of `codistill pca`."""

import argparse
from pathlib import Path

from codistill.commands.parsers.predict import IMAGES_HELP


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="codistill pca",
        description="Patch tokens as colours: three principal components, fitted on all images of an encoder.",
    )
    parser.add_argument("images", nargs="+", metavar="IMAGE", help=IMAGES_HELP)
    parser.add_argument(
        "--encoder", action="append", required=True, metavar="E", help="what load_encoder accepts; repeatable"
    )
    parser.add_argument(
        "--teacher",
        metavar="NAME",
        help="of students, show the projection onto this teacher, in its own space",
    )
    parser.add_argument(
        "--shared-basis",
        action="store_true",
        help="colour encoders of the first one's width by its basis: equal colours are then equal features",
    )
    parser.add_argument("--size", type=int, default=448, help="shorter side in pixels, before rounding (448)")
    parser.add_argument("--no-norm", action="store_true", help="tokens before the final norm")
    parser.add_argument(
        "--separate", action="store_true", help="a basis for every image instead of a joint one"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="PNG")
    return parser


def parse(argv: list[str]) -> argparse.Namespace:
    return make_parser().parse_args(argv)

"""Options of `codistill pca`."""

import argparse

from codistill.commands.parsers.paths import named_path
from codistill.commands.parsers.predict import IMAGES_HELP

PARSER = argparse.ArgumentParser(
    prog="codistill pca",
    description="Patch tokens as colours: three principal components, fitted on all images of an encoder.",
)
add = PARSER.add_argument
add("images", nargs="+", metavar="IMAGE", help=IMAGES_HELP)
add("--encoder", action="append", required=True, metavar="E", help="what load_encoder accepts; repeatable")
add("--teacher", metavar="NAME", help="of students, show the projection onto this teacher, in its own space")
add(
    "--shared-basis",
    action="store_true",
    help="colour encoders of the first one's width by its basis: equal colours are then equal features",
)
add("--size", type=int, default=448, help="shorter side in pixels, before rounding (448)")
add("--no-norm", action="store_true", help="tokens before the final norm")
add("--separate", action="store_true", help="a basis for every image instead of a joint one")
add("--out", type=named_path, required=True, metavar="PNG")

parse = PARSER.parse_args

"""What `codistill depth` may be told."""

import argparse

from codistill.commands.parsers.head_options import (
    add_feature_options,
    add_other_encoder_option,
    add_runtime_options,
)
from codistill.commands.parsers.image_options import add_image_options
from codistill.files.literals import literal

PROTOCOLS: tuple[str, ...] = literal("codistill.tasks.dense.depth.data", "PROTOCOLS")


def make_parser() -> argparse.ArgumentParser:
    """The command's parser."""
    parser = argparse.ArgumentParser(
        prog="codistill depth",
        description="Depth of every pixel: DIR/NAME.png (near is warm, far is cold, with a bar in metres), "
        "DIR/NAME.npy (metres, fp32).",
    )
    add_image_options(parser)
    parser.add_argument("--head", required=True, metavar="HEAD", help="of `codistill fit depth`")
    parser.add_argument(
        "--kind", choices=sorted(PROTOCOLS), help="what a released .pth head was fitted on; it does not say"
    )
    parser.add_argument("--no-mirror", action="store_true", help="do not average with the mirrored image")
    parser.add_argument("--overlay", action="store_true", help="lay the colours over the image")
    add_feature_options(parser, norm=False)
    add_other_encoder_option(parser)
    add_runtime_options(parser)
    return parser


def parse(argv: list[str]) -> argparse.Namespace:
    """The arguments; ends the process where argparse has something to say."""
    return make_parser().parse_args(argv)

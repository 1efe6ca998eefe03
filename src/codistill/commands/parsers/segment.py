"""What `codistill segment` may be told."""

import argparse

from codistill.commands.parsers.head_options import (
    add_feature_options,
    add_other_encoder_option,
    add_runtime_options,
)
from codistill.commands.parsers.image_options import add_image_options
from codistill.files.literals import literal

RELEASED: tuple[str, ...] = literal("codistill.tasks.dense.segmentation.data", "RELEASED")


def make_parser() -> argparse.ArgumentParser:
    """The command's parser."""
    parser = argparse.ArgumentParser(
        prog="codistill segment",
        description="Classes of every pixel: DIR/NAME.png (laid over the image, with a legend), DIR/NAME.npy (uint8).",
    )
    add_image_options(parser)
    parser.add_argument("--head", required=True, metavar="HEAD", help="of `codistill fit segmentation`")
    parser.add_argument(
        "--kind", choices=sorted(RELEASED), help="what a released .pth head was fitted on; it does not say"
    )
    parser.add_argument("--mirror", action="store_true", help="average with the mirrored image")
    parser.add_argument("--plain", action="store_true", help="colours alone: no image below them, no legend")
    add_feature_options(parser, norm=True)
    add_other_encoder_option(parser)
    add_runtime_options(parser)
    return parser


def parse(argv: list[str]) -> argparse.Namespace:
    """The arguments; ends the process where argparse has something to say."""
    return make_parser().parse_args(argv)

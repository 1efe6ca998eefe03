"""Options of `codistill bench loader`."""

import argparse

from codistill.commands.parsers.bench_options import add_json


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="codistill bench loader",
        description="Images per second and core: decoding and augmentation, beside plain torchvision v2.",
    )
    parser.add_argument(
        "--images", metavar="DIR", help="folder of JPEGs (default: synthetic ones of 640x480)"
    )
    parser.add_argument("--count", type=int, default=48, help="images to use (default 48)")
    parser.add_argument("--size", type=int, default=336, help="side of the crops in pixels (default 336)")
    parser.add_argument("--megapixels", type=float, default=10.0, help="of the enlarged copies; 0 for none")
    parser.add_argument("--large-count", type=int, default=8, help="enlarged copies (default 8)")
    parser.add_argument("--repeats", type=int, default=5, help="passes; the best counts (default 5)")
    add_json(parser)
    return parser


def parse(argv: list[str]) -> argparse.Namespace:
    return make_parser().parse_args(argv)

"""Options of `codistill convert`."""

import argparse
from pathlib import Path


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="codistill convert",
        description="Convert weights of any known layout into encoder.safetensors + config.json.",
    )
    parser.add_argument("what", metavar="WHAT", help="a weights file, a run, an export, or a known name")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder to make")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing export")
    parser.add_argument(
        "--encoder-only", action="store_true", help="leave projectors and target statistics out"
    )
    parser.add_argument(
        "--image-size", type=int, metavar="PIXELS", help="resize the positional embedding for this size"
    )
    parser.add_argument("--num-heads", type=int, metavar="N", help="heads of a file that does not say them")
    parser.add_argument("--name", help="what to call the encoder")
    parser.add_argument("--licence", help="licence of the weights, where the file does not say it")
    return parser


def parse(argv: list[str]) -> argparse.Namespace:
    return make_parser().parse_args(argv)

"""Options of `codistill bench loader`."""

import argparse

from codistill.commands.parsers.bench_options import add_json

PARSER = argparse.ArgumentParser(
    prog="codistill bench loader",
    description="Images per second and core: decoding and augmentation, beside plain torchvision v2.",
)
add = PARSER.add_argument
add("--images", metavar="DIR", help="folder of JPEGs (default: synthetic ones of 640x480)")
add("--count", type=int, default=48, help="images to use (default 48)")
add("--size", type=int, default=336, help="side of the crops in pixels (default 336)")
add("--megapixels", type=float, default=10.0, help="of the enlarged copies; 0 for none")
add("--large-count", type=int, default=8, help="enlarged copies (default 8)")
add("--repeats", type=int, default=5, help="passes; the best counts (default 5)")
add_json(PARSER)

parse = PARSER.parse_args

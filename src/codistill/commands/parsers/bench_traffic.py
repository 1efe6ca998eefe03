"""`codistill bench traffic`: bytes that a teacher's block moves on a GPU besides products, counted without a GPU."""

import argparse

from codistill.commands.parsers.bench_options import add_json

PARSER = argparse.ArgumentParser(prog="codistill bench traffic", description=__doc__)
add = PARSER.add_argument
add("--images", type=int, default=128, help="of the batch (128)")
add(
    "--size",
    type=int,
    default=336,
    metavar="PX",
    help="of the student's images, of patches of 14 pixels (336)",
)
add_json(PARSER)

parse = PARSER.parse_args

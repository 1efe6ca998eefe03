"""Options of `codistill convert`."""

import argparse

from codistill.commands.parsers.paths import named_path

PARSER = argparse.ArgumentParser(
    prog="codistill convert",
    description="Convert weights of any known layout into encoder.safetensors + config.json.",
)
add = PARSER.add_argument
add("what", metavar="WHAT", help="a weights file, a run, an export, or a known name")
add("--out", required=True, type=named_path, metavar="DIR", help="folder to make")
add("--overwrite", action="store_true", help="replace an export that is there already")
add("--encoder-only", action="store_true", help="leave projectors and target statistics out")
add("--image-size", type=int, metavar="PIXELS", help="resize the positional embedding for this size")
add("--num-heads", type=int, metavar="N", help="heads of a file that does not say them")
add("--name", help="what to call the encoder")
add("--licence", help="licence of the weights (what the file says)")

parse = PARSER.parse_args

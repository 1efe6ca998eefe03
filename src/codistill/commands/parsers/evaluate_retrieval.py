"""Options of `codistill evaluate retrieval`."""

import argparse
from pathlib import Path

from codistill.commands.parsers.paths import named_path

PARSER = argparse.ArgumentParser(
    prog="codistill evaluate retrieval",
    description="Captions of images and images of captions: recall at 1, 5 and 10 in both directions, with intervals.",
)
add = PARSER.add_argument
add(
    "--encoder",
    required=True,
    metavar="E",
    help="an encoder with a summary in the text's space, or a student",
)
add("--projector", metavar="TEACHER", help="of a student: whose space the text is in")
add(
    "--captions",
    required=True,
    type=named_path,
    metavar="FILE",
    help=".npz: embeddings, images, tower (codistill text)",
)
add(
    "--images",
    required=True,
    type=named_path,
    metavar="DIR",
    help="folder that the images' names are relative to",
)
add("--resize", type=int, default=256, help="shorter side in pixels (256)")
add("--crop", type=int, default=224, help="side of the centre crop in pixels (224)")
add("--batch-size", type=int, default=64, metavar="N", help="images at a time (64)")
add("--workers", type=int, metavar="N", help="processes that decode (all CPUs)")
add("--device", default="auto", choices=("auto", "cpu", "cuda"))
add(
    "--out",
    type=named_path,
    default=Path("retrieval.json"),
    metavar="JSON",
    help="metrics file (retrieval.json)",
)

parse = PARSER.parse_args

"""Options of `codistill evaluate zero-shot`."""

import argparse
from pathlib import Path

from codistill.commands.parsers.paths import named_path

PARSER = argparse.ArgumentParser(
    prog="codistill evaluate zero-shot",
    description="Classes of whole images by the embeddings of their names: top-1 and top-5, with intervals.",
)
add = PARSER.add_argument
add(
    "--encoder",
    required=True,
    metavar="E",
    help="an encoder with a summary in the text's space, or a student",
)
add("--projector", metavar="TEACHER", help="of a student: whose space the text is in")
add("--classes", required=True, type=named_path, metavar="FILE", help=".npz: embeddings, classes, tower")
add("--data", required=True, metavar="LAYOUT:FOLDER", help="e.g. folder:imagenet, with val/CLASS/IMAGE")
add("--split", default="val", help="val or test (val)")
add("--resize", type=int, default=256, help="shorter side in pixels (256)")
add("--crop", type=int, default=224, help="side of the centre crop in pixels (224)")
add("--limit", type=int, metavar="N", help="score N evenly spread images")
add("--batch-size", type=int, default=64, metavar="N", help="images at a time (64)")
add("--workers", type=int, metavar="N", help="processes that decode (all CPUs)")
add("--device", default="auto", choices=("auto", "cpu", "cuda"))
add(
    "--out",
    type=named_path,
    default=Path("zero_shot.json"),
    metavar="JSON",
    help="metrics file (zero_shot.json)",
)

parse = PARSER.parse_args

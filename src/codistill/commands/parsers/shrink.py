"""`codistill shrink E --images SOURCE --num-heads N --out DIR`: a narrower encoder from a trained one, in minutes."""

import argparse

from codistill.commands.parsers.paths import named_path

EPILOG = """\
SOURCE is a folder, a text list, a Parquet manifest or a folder of tar shards, of images like those it will see.
Heads keep their width: a ViT-S (6 heads of 64) becomes a ViT-Ti with --num-heads 3. Then distil it further:
codistill distill RECIPE --student.init DIR (docs/options.md).
"""


PARSER = argparse.ArgumentParser(
    prog="codistill shrink",
    description=__doc__,
    epilog=EPILOG,
    formatter_class=argparse.RawDescriptionHelpFormatter,
)
add = PARSER.add_argument
add("encoder", metavar="E", help="what load_encoder accepts; a codistill ViT")
add("--images", required=True, metavar="SOURCE", help="images to fit it to")
add("--num-heads", type=int, required=True, metavar="N", help="heads to keep")
add("--out", type=named_path, required=True, metavar="DIR", help="export folder to make")
add(
    "--teacher",
    metavar="NAME",
    help="what the recipe calls E as a teacher (E's own name): its projector is taken along",
)
add("--overwrite", action="store_true", help="replace an export that is there already")
add("--size", type=int, metavar="PIXELS", help="side of the images, rounded to patches (the encoder's own)")
add("--count", type=int, default=400, metavar="N", help="images, evenly spread (400)")
add("--batch-size", type=int, default=20, metavar="N", help="(20)")
add("--workers", type=int, help="loader processes (the CPUs, at most 16)")
add("--device", default="auto", choices=("auto", "cpu", "cuda"))

parse = PARSER.parse_args

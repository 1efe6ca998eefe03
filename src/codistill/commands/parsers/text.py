"""Options of `codistill text`."""

import argparse

from codistill.commands.parsers.paths import named_path

EPILOG = """\
CLASSES: a class per line, its name as the data set has it; after a tab, words for it (several: separated by ;).
CAPTIONS: lines IMAGE, a tab, and a caption; an image may have several.
TEMPLATES: a text per line with {} where the words go; without the option: a photo of a {}.
"""

PARSER = argparse.ArgumentParser(
    prog="codistill text",
    description="Embeddings of class names or captions by a text tower: the file of `evaluate zero-shot`, "
    "`zero-shot-segmentation` and `retrieval`.",
    epilog=EPILOG,
    formatter_class=argparse.RawDescriptionHelpFormatter,
)
add = PARSER.add_argument
add("tower", metavar="TOWER", help="hf:ORG/REPO or hf:FOLDER, or open_clip:NAME,pretrained=TAG")
what = PARSER.add_mutually_exclusive_group(required=True)
what.add_argument("--classes", type=named_path, metavar="FILE", help="names of classes")
what.add_argument("--captions", type=named_path, metavar="FILE", help="captions of images")
add("--templates", type=named_path, metavar="FILE", help="texts around the words of classes")
add(
    "--image-encoder",
    metavar="E",
    help="name of the image encoder of this space, as a run calls it (TOWER, for hf:; needed for open_clip:)",
)
add("--batch-size", type=int, default=64, metavar="N", help="texts at a time (64)")
add("--out", type=named_path, required=True, metavar="FILE", help=".npz")

parse = PARSER.parse_args

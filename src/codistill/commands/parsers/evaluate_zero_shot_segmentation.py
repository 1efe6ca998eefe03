"""Options of `codistill evaluate zero-shot-segmentation`."""

import argparse

from codistill.commands.parsers.paths import named_path

PARSER = argparse.ArgumentParser(
    prog="codistill evaluate zero-shot-segmentation",
    description="Classes of pixels by cosines of patches to embeddings of the classes' names: mIoU, with intervals.",
)
add = PARSER.add_argument
add(
    "--encoder",
    required=True,
    metavar="E",
    help="an encoder whose patches lie in the text's space, or a student",
)
add("--projector", metavar="TEACHER", help="of a student: whose space the text is in")
add(
    "--through",
    default="patch",
    choices=("patch", "cls"),
    help="what stands for a patch: its token, or the projector's class-token head on it (patch)",
)
add("--classes", required=True, type=named_path, metavar="FILE", help=".npz: embeddings, classes, tower")
add(
    "--data",
    required=True,
    metavar="LAYOUT:FOLDER",
    help="as of evaluate segmentation, e.g. world:W, ade20k:DIR",
)
add("--split", help="to score (test where the layout has one, else val)")
add("--limit", type=int, metavar="N", help="score N evenly spread images")
add("--scales", type=float, nargs="+", default=[1.0], metavar="F", help="factors on the protocol's scale (1)")
add("--mirror", action="store_true", help="average with the mirrored image")
add("--upsample", default="bilinear", choices=("bilinear", "jbu"), help="how scores become pixels (bilinear)")
add("--pictures", type=int, default=6, metavar="N", help="examples in pictures.png (6)")
add("--device", default="auto", choices=("auto", "cpu", "cuda"))
add("--out", type=named_path, required=True, metavar="OUT", help="folder of the results")

parse = PARSER.parse_args

"""Options of `codistill export`."""

import argparse

from codistill.commands.parsers.paths import named_path

PARSER = argparse.ArgumentParser(
    prog="codistill export",
    description="Write an encoder or a fitted head as a file that other runtimes run, and check its numbers against "
    "PyTorch's. For an export folder of codistill itself: `codistill convert`.",
)
add = PARSER.add_argument


def _blocks(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be numbers of blocks, e.g. 2,5,8,-1; got {text!r}") from None


add(
    "what",
    metavar="E|HEAD",
    help="what load_encoder accepts, the folder of a fitted head, or, with --task, a model that ships with heads",
)
add("--out", required=True, type=named_path, metavar="FILE", help="the file to make: .onnx or .pt2")
add("--format", default="onnx", help="onnx, torch-export, or aoti: compiled for this machine (onnx)")
add("--precision", default="fp32", help="of the transformer: fp32, fp16, bf16, int8 (fp32)")
add(
    "--input",
    dest="takes",
    default="images",
    help="images (ImageNet-normalized), pixels (uint8, normalized inside) or tokens (a head alone) (images)",
)
add("--size", metavar="ROWSxCOLUMNS", help="fix the images' size (any, in whole patches)")
add("--batch", type=int, metavar="N", help="fix the number of images (any)")
add("--blocks", type=_blocks, default=(), metavar="N,N…", help="of an encoder: tokens after these blocks")
add("--no-norm", dest="norm", action="store_false", help="leave an encoder's final norm out")
add("--map", dest="feature_map", action="store_true", help="patch tokens as a map, in place of a sequence")
add("--projector", metavar="TEACHER", help="a student's tokens in this teacher's space")
add("--denormalize", action="store_true", help="with --projector: in the teacher's own units")
add("--people", type=int, metavar="N", help="rows per image of a head for people (10)")
add("--bodies", action="store_true", help="of a head for people: vertices and joints as well")
add(
    "--task",
    metavar="TASK",
    help="the head of a model that ships (dune-tiny --task depth); two-view or people: a released file of encoder and "
    "head together",
)
add(
    "--images",
    nargs="+",
    default=(),
    metavar="IMAGE",
    help="files or folders, whose first images are those to check on (drawn pictures)",
)
add("--tolerance", type=float, help="of the check; fp32 0.001, fp16 0.1, bf16 0.5, int8 0.15")
add("--no-check", dest="check", action="store_false", help="do not run the file")
add("--overwrite", action="store_true", help="replace a file that is there already")
add("--json", type=named_path, metavar="FILE", help="write what the file says about itself there as well")

parse = PARSER.parse_args

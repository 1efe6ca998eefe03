"""What `codistill evaluate segmentation` may be told."""

import argparse

from codistill.commands.parsers import fit_segmentation
from codistill.commands.parsers.evaluation_options import add_evaluation_options, check_evaluation
from codistill.files.literals import literal

MULTI_SCALE: tuple[float, ...] = literal("codistill.tasks.dense.segmentation.predict", "MULTI_SCALE")


def make_parser() -> argparse.ArgumentParser:
    """The command's parser."""
    parser = argparse.ArgumentParser(
        prog="codistill evaluate segmentation",
        description="Score a segmentation head. Without --head, one is fitted first (see `codistill fit "
        "segmentation`), in OUT/head. With --head, --encoder puts another encoder under it.",
    )
    add_evaluation_options(parser, released=".pth", margin="mIoU, per cent")
    scales = ",".join(f"{scale:g}" for scale in MULTI_SCALE)
    parser.add_argument("--scales", metavar="S,…", help=f"average over scales; DINOv2's +ms: {scales} (1)")
    parser.add_argument("--mirror", action="store_true", help="average with the mirrored image")
    fit_segmentation.add_options(parser)
    return parser


def parse(argv: list[str]) -> argparse.Namespace:
    """The arguments; ends the process where argparse has something to say."""
    parser = make_parser()
    return check_evaluation(parser, parser.parse_args(argv), fit_segmentation.PROTOCOLS)

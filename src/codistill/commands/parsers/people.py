"""What `codistill people` may be told."""

import argparse

from codistill.commands.parsers.head_options import (
    add_feature_options,
    add_other_encoder_option,
    add_runtime_options,
)
from codistill.commands.parsers.image_options import add_image_options
from codistill.files.literals import literal

THRESHOLD: float = literal("codistill.heads.human_mesh.cells", "DETECTION_THRESHOLD")
KERNEL: int = literal("codistill.tasks.people.predict", "PeopleTest.kernel")
NORM = False


def add_test_options(parser: argparse.ArgumentParser) -> None:
    """How people are looked for."""
    parser.add_argument("--threshold", type=float, default=THRESHOLD, help=f"least score ({THRESHOLD})")
    parser.add_argument("--kernel", type=int, default=KERNEL, help="suppress weaker neighbours; 1: never (3)")
    parser.add_argument(
        "--test-size", type=int, metavar="PIXELS", help="side of what the encoder sees (the head's)"
    )


def make_parser() -> argparse.ArgumentParser:
    """The command's parser."""
    parser = argparse.ArgumentParser(
        prog="codistill people",
        description="Everybody in an image as a body in metres: DIR/NAME.png (numbered meshes over the image, and from "
        "above), DIR/NAME.json (parameters, joints), DIR/NAME.glb (meshes and camera).",
    )
    add_image_options(parser)
    parser.add_argument(
        "--head",
        required=True,
        metavar="HEAD",
        help="of `codistill fit people`, or a released Multi-HMR file",
    )
    parser.add_argument("--focal", type=float, metavar="PIXELS", help="focal length, if it is known")
    parser.add_argument(
        "--fov",
        type=float,
        metavar="DEGREES",
        help="field of view across the longer side (from EXIF, else 60 is assumed)",
    )
    add_test_options(parser)
    add_feature_options(parser, norm=NORM)
    add_other_encoder_option(parser)
    add_runtime_options(parser)
    return parser


def parse(argv: list[str]) -> argparse.Namespace:
    """The arguments; ends the process where argparse has something to say."""
    return make_parser().parse_args(argv)

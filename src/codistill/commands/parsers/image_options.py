"""Options that commands on images share."""

import argparse
from pathlib import Path

IMAGES_HELP = "image files, folders (with all that is in them), or patterns such as 'photos/*.jpg'"


def add_image_options(parser: argparse.ArgumentParser) -> None:
    """Images, `--out` and `--json`."""
    parser.add_argument("images", nargs="+", metavar="IMAGE", help=IMAGES_HELP)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--json", action="store_true", help="one JSON object a line and image, on standard output"
    )

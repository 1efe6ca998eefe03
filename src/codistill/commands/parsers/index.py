"""Options of `codistill index`."""

import argparse

from codistill.files.literals import literal

CATALOGUE: tuple[str, ...] = literal("codistill.data.catalogue", "CATALOGUE")
_EXAMPLES = """
examples:
  codistill index photos --root ~/photos --out photos.parquet
  codistill index bedlam --split val --root /data/bedlam --out /data/bedlam/validation.parquet
  codistill index in1k --root /data/in1k --out /fast/in1k-shards --pack --workers 16
  codistill index in1k --root /fast/in1k-shards --verify
"""


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="codistill index",
        description="List an image source into a manifest, pack it into tar shards, or check shards.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "source", metavar="SOURCE", help=f"a known data set ({', '.join(CATALOGUE)}) or any name of your own"
    )
    parser.add_argument(
        "--root", metavar="DIR", help="folder of the images (default: $CODISTILL_DATA/SOURCE)"
    )
    parser.add_argument("--out", metavar="FILE", help="manifest to write (.parquet); with --pack a folder")
    parser.add_argument("--split", default="train", choices=("train", "val"), help="of a known data set")
    parser.add_argument(
        "--list", metavar="FILE", help="text file of paths below the root, instead of all images"
    )
    parser.add_argument("--include", metavar="GLOB", nargs="+", default=[], help="only these relative paths")
    parser.add_argument("--exclude", metavar="GLOB", nargs="+", default=[], help="not these relative paths")
    parser.add_argument(
        "--allow-incomplete", action="store_true", help="fewer images than published are fine"
    )
    parser.add_argument("--pack", action="store_true", help="write tar shards (WebDataset layout), resumable")
    parser.add_argument("--images-per-shard", metavar="N", type=int, default=5000)
    parser.add_argument(
        "--member",
        metavar="NAME",
        nargs="+",
        default=[],
        help="pack these too, e.g. depth.png beside each image",
    )
    parser.add_argument("--workers", metavar="N", type=int, default=4, help="shards handled at the same time")
    parser.add_argument(
        "--verify", action="store_true", help="compare the shards in the root with their hashes"
    )
    return parser


def parse(argv: list[str]) -> argparse.Namespace:
    return make_parser().parse_args(argv)

"""Options of `codistill index`."""

import argparse

from codistill.errors import ConfigError
from codistill.files.literals import literal

CATALOGUE: tuple[str, ...] = literal("codistill.data.catalogue", "CATALOGUE")
_EXAMPLES = """
examples:
  codistill index photos --root ~/photos --out photos.parquet
  codistill index bedlam --split val --root /data/bedlam --out /data/bedlam/validation.parquet
  codistill index in1k --root /data/in1k --out /fast/in1k-shards --pack --workers 16
  codistill index in1k --root /fast/in1k-shards --verify
  codistill index in1k --root /data/in1k --out s3://bucket/in1k-shards --pack
"""


PARSER = argparse.ArgumentParser(
    prog="codistill index",
    description="List an image source into a manifest, pack it into tar shards, or check shards.",
    epilog=_EXAMPLES,
    formatter_class=argparse.RawDescriptionHelpFormatter,
)
add = PARSER.add_argument
add("source", metavar="SOURCE", help=f"a known data set ({', '.join(CATALOGUE)}) or any name of your own")
add("--root", metavar="DIR", help="folder or address of the images (default: $CODISTILL_DATA/SOURCE)")
add("--out", metavar="FILE", help="manifest to write (.parquet); with --pack a folder; or an address")
add("--split", default="train", choices=("train", "val"), help="of a known data set")
add("--list", metavar="FILE", help="text file of paths below the root, instead of all images")
add("--include", metavar="GLOB", nargs="+", default=[], help="only these relative paths")
add("--exclude", metavar="GLOB", nargs="+", default=[], help="not these relative paths")
add("--allow-incomplete", action="store_true", help="fewer images than published are fine")
add("--pack", action="store_true", help="write tar shards (WebDataset layout), resumable")
add("--images-per-shard", metavar="N", type=int, default=5000, help="with --pack (5000)")
add(
    "--member", metavar="NAME", nargs="+", default=[], help="pack these too, e.g. depth.png beside each image"
)
add("--check", action="store_true", help="with --pack: decode every image, and leave out damaged ones")
add("--workers", metavar="N", type=int, default=4, help="shards handled at the same time")
add("--cache-gb", metavar="GB", type=float, help="keep what --pack reads from a store (default: nothing)")
add("--verify", action="store_true", help="compare the shards in the root with their hashes")

_LISTING = ("list", "include", "exclude", "allow_incomplete")
_PACKING = ("images_per_shard", "member", "check", "cache_gb")


def parse(argv: list[str]) -> argparse.Namespace:
    """The checked options; those that would have no effect are refused.

    Raises:
        ConfigError: for an option without effect.
    """
    options = PARSER.parse_args(argv)
    if options.verify:
        refuse(
            options,
            ("out", "pack", "workers", *_LISTING, *_PACKING),
            "--verify compares the shards alone",
        )
    elif not options.pack:
        refuse(options, _PACKING, "nothing is packed (--pack)")
    if options.source not in CATALOGUE:
        refuse(options, ("split", "allow_incomplete"), f"{options.source!r} is no known data set")
    elif options.root and (options.list or options.verify):
        refuse(options, ("split",), "the root is given")
    if options.list:
        refuse(options, ("allow_incomplete",), "the list says which images there are")
    return options


def refuse(options: argparse.Namespace, names: tuple[str, ...], reason: str) -> None:
    """Raise ConfigError if one of some options was given, which would have no effect for a reason."""
    for name in names:
        if getattr(options, name) != PARSER.get_default(name):
            raise ConfigError(f"--{name.replace('_', '-')} would have no effect: {reason}. Leave it out.")

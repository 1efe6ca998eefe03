"""Options of `codistill bench store`."""

import argparse

from codistill.commands.parsers.bench_options import add_json

PARSER = argparse.ArgumentParser(
    prog="codistill bench store",
    description="Images per second from local shards, and from a store with a latency: cold and with a warm cache. "
    "With --index instead: what a large data set costs when it opens, and at the store.",
)
add = PARSER.add_argument
add("--images", metavar="DIR", help="folder of JPEGs (default: synthetic ones of 640x480)")
add("--count", type=int, default=48, help="different images (default 48)")
add("--size", type=int, default=224, help="side of the crops in pixels (default 224)")
add("--batch-size", type=int, default=64, help="images of a step (default 64)")
add("--steps", type=int, default=24, help="steps of a round that count (default 24)")
add("--rounds", type=int, default=3, help="rounds; the best counts (default 3)")
add("--workers", type=int, default=8, help="of the loader (default 8)")
add("--latency-ms", type=float, default=50.0, help="before each answer of the store (default 50)")
add(
    "--index",
    metavar="IMAGES,SHARDS",
    help="measure an index of this size, e.g. 20700000,20000; no image is read",
)
add("--image-bytes", type=int, default=100_000, help="with --index: mean size of an image (default 100000)")
add("--rate", type=float, default=180.0, help="with --index: images a second of a GPU (default 180)")
add_json(PARSER)

_LOADING = ("images", "count", "size", "batch_size", "steps", "rounds", "latency_ms")
_INDEX = ("image_bytes", "rate")


def parse(argv: list[str]) -> argparse.Namespace:
    """The checked options; those that belong to the other measurement are refused."""
    options = PARSER.parse_args(argv)
    for name in _LOADING if options.index else _INDEX:
        if getattr(options, name) != PARSER.get_default(name):
            PARSER.error(
                f"--{name.replace('_', '-')} has no effect {'with' if options.index else 'without'} --index"
            )
    for name in ("count", "size", "batch_size", "steps", "rounds", "workers", "image_bytes"):
        if getattr(options, name) < 1:
            PARSER.error(f"--{name.replace('_', '-')} must be positive")
    if options.index:
        parts = options.index.split(",")
        if len(parts) != 2 or not all(part.isdecimal() and int(part) for part in parts):
            PARSER.error(f"--index: write IMAGES,SHARDS, e.g. 20700000,20000; got {options.index}")
        if int(parts[1]) > int(parts[0]):
            PARSER.error("--index: more shards than images")
    return options

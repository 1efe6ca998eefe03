"""`codistill bench store`: the cost of reading images from a remote store instead of local shards."""

import argparse

from rich.console import Console
from rich.table import Table

from codistill.bench.loader import shape_of, small_images
from codistill.bench.store import StoreBench, bench_store
from codistill.bench.store_scale import measure_index, store_load
from codistill.commands.bench_output import write_numbers
from codistill.commands.parsers.bench_store import parse
from codistill.files.remote.config import RemoteConfig

RANKS = (64, 512)


def main(argv: list[str]) -> int:
    options = parse(argv)
    numbers = _index(options) if options.index else _loading(options)
    write_numbers(options.json, "store", numbers, argv)
    return 0


def _loading(options: argparse.Namespace) -> dict[str, object]:
    images = small_images(options.images, options.count)
    bench = StoreBench(
        latency=options.latency_ms / 1e3,
        workers=options.workers,
        batch_size=options.batch_size,
        size=options.size,
        steps=options.steps,
        rounds=options.rounds,
    )
    rates = bench_store(images, bench)
    table = Table(
        title=f"{options.workers} workers, {options.latency_ms:g} ms latency, images of {shape_of(images[0])}"
    )
    for heading in ("shards", "images/s", "of local"):
        table.add_column(heading, justify="left" if heading == "shards" else "right")
    for way, rate in rates.items():
        table.add_row(way, f"{rate:.0f}", f"{100 * rate / rates['local']:.0f} %")
    Console().print(table)
    return {
        "latency_ms": options.latency_ms,
        "workers": options.workers,
        "size": options.size,
        "batch_size": options.batch_size,
        "images_per_second": rates,
        "of_local": {way: rate / rates["local"] for way, rate in rates.items()},
    }


def _index(options: argparse.Namespace) -> dict[str, object]:
    images, shards = map(int, options.index.split(","))
    found = measure_index(images, shards, options.image_bytes)
    loads = [
        store_load(
            ranks,
            images_per_second_and_rank=options.rate,
            image_bytes=options.image_bytes,
            workers=options.workers,
            index_bytes=found["index_bytes_stored"],
            requests=RemoteConfig().requests,
        )
        for ranks in RANKS
    ]
    table = Table(title=f"{images:,} images in {shards:,} shards")
    table.add_column("")
    for ranks in RANKS:
        table.add_column(f"{ranks} ranks", justify="right")
    for name, value in found.items():
        table.add_row(
            name.replace("_", " "), *[f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"] * len(RANKS)
        )
    for name in loads[0]:
        if name != "ranks":
            table.add_row(name.replace("_", " "), *(f"{load[name]:,.4g}" for load in loads))
    Console().print(table)
    return {
        "images": images,
        "shards": shards,
        "image_bytes": options.image_bytes,
        "index": found,
        "loads": loads,
    }

"""Benchmark of loading from a remote store compared with local shards: images in, images per second out.

The store is a web server in this process with an artificial latency (`range_server.py`). Three ways are measured in
turns, each as the best of several rounds: local shards; the same shards at an address, with an empty cache (cold); the
same again, with the cache filled by the cold round (warm).
"""

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from codistill.bench.range_server import RangeServer
from codistill.data import AugmentConfig, LoaderConfig, MixConfig, SourceConfig, train_loader
from codistill.data.shard_format import write_shard
from codistill.data.shard_index import write_index
from codistill.files.places import CACHE
from codistill.files.remote.config import RemoteConfig

IMAGES_PER_SHARD = 256
WAYS = ("local", "cold", "warm")


@dataclass(frozen=True, kw_only=True)
class StoreBench:
    """Settings of the benchmark.

    Attributes:
        latency: latency of the store in seconds.
        workers: number of loader workers.
        batch_size, size: images per step, and their side in pixels.
        steps: steps per round; the first step of each worker is not counted.
        rounds: number of rounds, of which the best counts.
    """

    latency: float
    workers: int
    batch_size: int
    size: int
    steps: int
    rounds: int


def bench_store(images: Sequence[bytes], bench: StoreBench) -> dict[str, float]:
    """Measure the images per second of every way, each in its best round."""
    needed = bench.batch_size * (bench.steps + 4 * max(1, bench.workers))
    best: dict[str, float] = dict.fromkeys(WAYS, 0.0)
    with tempfile.TemporaryDirectory() as folder:
        shards = Path(folder) / "shards"
        _write(shards, images, needed)
        with RangeServer(shards, bench.latency) as server:
            for number in range(bench.rounds):
                with _own_cache(Path(folder) / f"cache-{number}"):
                    for way in WAYS:
                        place = str(shards) if way == "local" else server.url
                        best[way] = max(best[way], _rate(place, bench))
    return best


def _write(folder: Path, images: Sequence[bytes], count: int) -> None:
    folder.mkdir()
    for number, start in enumerate(range(0, count, IMAGES_PER_SHARD)):
        rows = range(start, min(start + IMAGES_PER_SHARD, count))
        samples = ((f"{row:08d}", {"jpg": images[row % len(images)]}) for row in rows)
        write_shard(folder / f"shard-{number:06d}.tar", samples)
    write_index(folder)


def _rate(place: str, bench: StoreBench) -> float:
    """Images per second of a training loader, without its first batches."""
    loader = LoaderConfig(
        batch_size=bench.batch_size,
        image_size=bench.size,
        num_workers=bench.workers,
        remote=RemoteConfig(patience=60.0),
    )
    source = SourceConfig(name="bench", path=place, kind="shards")
    first = 2 * max(1, bench.workers)
    batches = iter(
        train_loader((source,), MixConfig(), AugmentConfig(), loader, seed=0, total_steps=bench.steps + first)
    )
    for _ in range(first):
        next(batches)
    begin = time.perf_counter()
    count = sum(len(batch) for batch in batches)
    return count / (time.perf_counter() - begin)


@contextmanager
def _own_cache(folder: Path) -> Iterator[None]:
    before = os.environ.get(CACHE)
    os.environ[CACHE] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ[CACHE]
        else:
            os.environ[CACHE] = before

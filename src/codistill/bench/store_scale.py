"""Cost of a large data set in a store, at the start and while training: a synthetic index in, its size and times out.

No image is read. The index has the same columns as one written by packing: key, member `jpg`, offset, size, CRC-32.
"""

import json
import tempfile
import time
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa

from codistill.data.index_rows import SCHEMA, SHARDS
from codistill.data.remote.shards import open_remote_shards
from codistill.data.shard_index import INDEX_NAME, write_rows
from codistill.data.source import SourceConfig
from codistill.files.remote.cache import OPEN_FILES
from codistill.files.remote.config import RemoteConfig


def synthetic_index(images: int, shards: int, image_bytes: int) -> pa.Table:
    """An index of equal shards, with images of about `image_bytes`."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(image_bytes // 2, image_bytes * 3 // 2, images)
    shard = np.arange(images, dtype=np.int64) * shards // images
    padded = 512 + -(-sizes // 512) * 512
    ends = np.cumsum(padded)
    starts = np.concatenate([[0], ends[:-1]])
    first = np.searchsorted(shard, np.arange(shards))
    names = [f"shard-{number:06d}.tar" for number in range(shards)]
    lists = pa.array(np.arange(images + 1, dtype=np.int32))
    columns = {
        "shard": pa.DictionaryArray.from_arrays(shard.astype(np.int32), pa.array(names)),
        "key": pa.array(np.arange(images)).cast(pa.string()),
        "member": pa.ListArray.from_arrays(lists, pa.repeat(pa.scalar("jpg"), images)),
        "offset": pa.ListArray.from_arrays(lists, pa.array(starts - starts[first][shard] + 512)),
        "size": pa.ListArray.from_arrays(lists, pa.array(sizes)),
        "crc32": pa.ListArray.from_arrays(lists, pa.array(rng.integers(0, 2**32, images, dtype=np.uint32))),
    }
    bytes_of = np.bincount(shard, weights=padded, minlength=shards).astype(np.int64) + 1024
    table = pa.table([columns[name] for name in SCHEMA.names], schema=SCHEMA)
    return table.replace_schema_metadata(
        {SHARDS: json.dumps(dict(zip(names, bytes_of.tolist(), strict=True)))}
    )


def measure_index(images: int, shards: int, image_bytes: int) -> dict[str, float]:
    """Bytes of an index, stored and mapped, and the seconds in which the first and a further rank open it."""
    memory = fsspec.filesystem("memory")
    url = f"memory://codistill-bench-{images}"
    with tempfile.TemporaryDirectory() as folder:
        path = write_rows(synthetic_index(images, shards, image_bytes), Path(folder) / INDEX_NAME)
        stored = path.stat().st_size
        memory.put_file(str(path), f"{url}/{INDEX_NAME}")
    try:
        config, remote = SourceConfig(name="bench", path=url, kind="shards"), RemoteConfig(cache_gb=0)
        begin = time.perf_counter()
        source = open_remote_shards(config, url, remote)
        first = time.perf_counter() - begin
        begin = time.perf_counter()
        source = open_remote_shards(config, url, remote)
        further = time.perf_counter() - begin
        mapped = source.index_bytes
    finally:
        memory.rm(url, recursive=True)
    return {
        "index_bytes_stored": stored,
        "index_bytes_mapped": mapped,
        "seconds_first_rank_of_a_machine": first,
        "seconds_further_rank": further,
    }


def store_load(
    ranks: int,
    *,
    images_per_second_and_rank: float,
    image_bytes: int,
    workers: int,
    index_bytes: float,
    requests: int,
) -> dict[str, float]:
    """Estimate the load on a store: requests and bytes per second while nothing is cached, and those of a start.

    There are 8 ranks per machine.

    Args:
        ranks: number of GPUs.
        images_per_second_and_rank: images per second on which a GPU trains.
        image_bytes: mean size of an image.
        workers: loader workers per rank.
        index_bytes: size of `index.parquet`.
        requests: largest number of simultaneous requests per worker.
    """
    machines = -(-ranks // 8)
    return {
        "ranks": ranks,
        "requests_per_second": ranks * images_per_second_and_rank,
        "gigabytes_per_second": ranks * images_per_second_and_rank * image_bytes / 1e9,
        "requests_under_way_at_most": ranks * workers * requests,
        "index_gigabytes_at_start": machines * index_bytes / 1e9,
        "requests_at_start": 5 * ranks + machines * -(-index_bytes // (32 << 20)),
        "open_files_per_worker_at_most": OPEN_FILES + 1,
    }

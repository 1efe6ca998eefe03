"""Batches from a store that fails, stalls, cuts or forgets: the local copy's, or an error that names the object."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from sample_pictures import write_pictures

from codistill.bench.range_server import RangeServer
from codistill.data import AugmentConfig, LoaderConfig, MixConfig, SourceConfig, open_source, train_loader
from codistill.data.packing import pack_source
from codistill.errors import DataError, StoreError
from codistill.files.remote import retrying
from codistill.files.remote.config import RemoteConfig

pytest.importorskip("aiohttp", reason="the extra `remote` is not installed")
NAMES = [f"{folder}/{n:02d}.jpg" for folder in "ab" for n in range(6)]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CODISTILL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(retrying, "_FIRST_PAUSE", 0.002)
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """`images/` with a list and a manifest's worth of pictures, and `shards/` of the same."""
    write_pictures(tmp_path / "images", NAMES)
    (tmp_path / "images" / "some.txt").write_text("\n".join(NAMES))
    images = SourceConfig(name="s", path=str(tmp_path / "images"))
    pack_source(open_source(images), tmp_path / "shards", images_per_shard=5)
    return tmp_path


class Meddling(RangeServer):
    """A store with a fault: from (path, number of the request, body) to a status and a body."""

    fault: Callable[[str, int, bytes], tuple[int, bytes]] | None = None

    def answer(self, path: str, body: bytes) -> tuple[int, bytes]:
        return (0, body) if self.fault is None else self.fault(path, len(self.requests), body)


@pytest.fixture
def store(folder: Path) -> Iterator[Meddling]:
    with Meddling(folder) as server:
        yield server


def batches(path: str, **loader: object) -> list[tuple[tuple[str, ...], bytes, int]]:
    """Names, pixels and number of bad images of each of some batches."""
    source = SourceConfig(name="s", path=path)
    config = LoaderConfig(**{"batch_size": 6, "image_size": 28, "num_workers": 0, **loader})  # type: ignore[arg-type]
    return [
        (batch.names, batch.images.numpy().tobytes(), len(batch.bad))
        for batch in train_loader(
            (source,), MixConfig(), AugmentConfig(), config, seed=3, start_step=1, total_steps=5
        )
    ]


def every(part: int) -> Callable[[int], bool]:
    """Whether a request, by its number, is one of a part of all, spread irregularly."""
    return lambda number: int(np.random.default_rng(number).integers(part)) == 0


def fail(path: str, number: int, body: bytes) -> tuple[int, bytes]:
    return (503, b"") if every(4)(number) else (0, body)


def cut(path: str, number: int, body: bytes) -> tuple[int, bytes]:
    return 0, body[: len(body) // 2] if every(4)(number) else body


def flip(path: str, number: int, body: bytes) -> tuple[int, bytes]:
    return 0, b"?" * len(body) if every(5)(number) and path.endswith(".tar") else body


@pytest.mark.parametrize("fault", [None, fail, cut, flip])
@pytest.mark.parametrize("what", ["shards", "images/some.txt"])
def test_batches_are_those_of_the_local_copy(
    folder: Path, store: Meddling, what: str, fault: Callable[..., tuple[int, bytes]] | None
) -> None:
    local = batches(str(folder / what))
    store.fault = fault
    assert batches(f"{store.url}/{what}") == local
    store.fault = None
    store.requests.clear()
    assert batches(f"{store.url}/{what}") == local
    assert not any(path.endswith((".tar", ".jpg")) for path in store.requests)  # all from the cache


def test_stalls_are_waited_out(folder: Path, store: Meddling) -> None:
    def stall(path: str, number: int, body: bytes) -> tuple[int, bytes]:
        if every(4)(number):
            retrying.time.sleep(0.05)
        return 0, body

    store.fault = stall
    assert batches(f"{store.url}/shards") == batches(str(folder / "shards"))


def test_workers_and_no_cache_change_nothing(folder: Path, store: Meddling) -> None:
    store.fault = fail
    remote = RemoteConfig(cache_gb=0, requests=2)
    assert batches(f"{store.url}/shards", num_workers=1, remote=remote) == batches(str(folder / "shards"))


def test_a_damaged_or_filled_cache_changes_nothing(folder: Path, store: Meddling, own_cache: Path) -> None:
    local = batches(str(folder / "shards"))
    assert batches(f"{store.url}/shards") == local
    kept = [path for path in (own_cache / "objects").rglob("*") if path.is_file() and path.stat().st_size]
    os.truncate(kept[0], kept[0].stat().st_size // 2)
    kept[1].write_bytes(bytes(kept[1].stat().st_size))
    assert batches(f"{store.url}/shards") == local
    small = RemoteConfig(cache_gb=3e-5)
    assert batches(f"{store.url}/shards", remote=small) == local


def test_a_vanished_shard_stops_by_name(folder: Path, store: Meddling) -> None:
    (folder / "shards" / "shard-000001.tar").unlink()
    with pytest.raises(StoreError, match=r"shards/shard-000001\.tar: no such object"):
        batches(f"{store.url}/shards")


def test_a_refused_shard_stops_by_name(folder: Path, store: Meddling) -> None:
    store.fault = lambda path, _, body: (403, b"") if path.endswith("000002.tar") else (0, body)
    with pytest.raises(StoreError, match=r"shards/shard-000002\.tar: the store refuses access"):
        batches(f"{store.url}/shards")


def test_a_vanished_image_is_replaced_as_a_missing_file_is(folder: Path, store: Meddling) -> None:
    (folder / "images" / NAMES[3]).unlink()
    local = batches(str(folder / "images/some.txt"))
    assert sum(bad for _, _, bad in local) > 0
    assert batches(f"{store.url}/images/some.txt") == local


def test_a_store_that_stays_away_stops(folder: Path, store: Meddling) -> None:
    open_source(SourceConfig(name="s", path=f"{store.url}/shards"))
    store.fault = lambda path, _, body: (500, b"")
    with pytest.raises(StoreError, match=r"shards/shard-00000\d\.tar: the store failed for 0\.2 s"):
        batches(f"{store.url}/shards", remote=RemoteConfig(patience=0.2))


def test_a_changed_image_is_not_taken_from_the_cache(folder: Path, store: Meddling) -> None:
    before = batches(f"{store.url}/images/some.txt")
    write_pictures(folder / "images", NAMES[::-1])
    after = batches(f"{store.url}/images/some.txt")
    assert after != before and after == batches(str(folder / "images/some.txt"))


def test_a_shard_that_is_not_the_indexed_one_is_refused(folder: Path, store: Meddling) -> None:
    shutil.copy(folder / "shards/shard-000000.tar", folder / "shards/shard-000001.tar")
    source = open_source(SourceConfig(name="s", path=f"{store.url}/shards"))
    with pytest.raises(DataError, match=r"shard-000001\.tar: damaged"):
        _ = [source.read(index) for index in range(5, 10)]

"""The cache on the disk gives back what was stored, whatever became of its files, and stays within its bound."""

import multiprocessing
import os
import pickle
import signal
import time
import zlib
from pathlib import Path

import numpy as np
import pytest

from codistill.files.remote.cache import RangeCache


def blob(seed: int, size: int) -> bytes:
    return np.random.default_rng(seed).bytes(size)


def name_of(number: int) -> str:
    return f"{number:064x}"[::-1]


def stored(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def test_ranges_come_back_and_holes_do_not(tmp_path: Path) -> None:
    cache, data = RangeCache(tmp_path, 10**8), blob(0, 5000)
    crc = zlib.crc32(data)
    assert cache.read(name_of(1), 70_000, 5000, crc) is None
    cache.write(name_of(1), 70_000, data)
    assert cache.read(name_of(1), 70_000, 5000, crc) == data
    assert cache.read(name_of(1), 0, 5000, crc) is None  # a hole
    assert cache.read(name_of(1), 70_001, 5000, crc) is None  # beyond the end
    other = pickle.loads(pickle.dumps(cache))
    assert other.read(name_of(1), 70_000, 5000, crc) == data


@pytest.mark.parametrize("damage", ["cut", "flipped", "removed", "folder in its place"])
def test_damage_looks_like_absence_and_is_mended(tmp_path: Path, damage: str) -> None:
    cache, data = RangeCache(tmp_path, 10**8), blob(0, 5000)
    cache.write(name_of(1), 0, data)
    path = next(path for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock")
    if damage == "cut":  # as a kill or a full disk leaves it
        os.truncate(path, 2000)
    elif damage == "flipped":
        path.write_bytes(b"x" + data[1:])
    else:
        path.unlink()
    if damage == "folder in its place":
        path.mkdir()
        cache.write(name_of(1), 0, data)  # said, not raised
        assert cache.read(name_of(1), 0, 5000, zlib.crc32(data)) is None
        return
    assert cache.read(name_of(1), 0, 5000, zlib.crc32(data)) is None
    cache.write(name_of(1), 0, data)
    assert cache.read(name_of(1), 0, 5000, zlib.crc32(data)) == data


def test_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    limit = 1_000_000
    cache = RangeCache(tmp_path, limit)
    for number in range(8):
        cache.write(name_of(number), 0, blob(number, 100_000))
    cache.close()
    for at, path in enumerate(sorted(p for p in tmp_path.rglob("*") if p.is_file() and p.name != ".lock")):
        os.utime(path, (at + 1, at + 1))
    kept = {}
    for number in range(8):  # files lie by name: their times follow
        data = blob(number, 100_000)
        place = cache._path(name_of(number))
        kept[number] = (place.stat().st_mtime, data)
    first = min(kept, key=lambda number: kept[number][0])
    assert cache.read(name_of(first), 0, 100_000, zlib.crc32(kept[first][1])) == kept[first][1]  # used now
    for number in range(8, 14):
        cache.write(name_of(number), 0, blob(number, 100_000))
        assert stored(tmp_path) <= limit
    assert cache.read(name_of(first), 0, 100_000, zlib.crc32(kept[first][1])) == kept[first][1]
    second = sorted(kept, key=lambda number: kept[number][0])[1]
    assert cache.read(name_of(second), 0, 100_000, zlib.crc32(kept[second][1])) is None


def _fill(folder: Path, seed: int) -> None:
    cache = RangeCache(folder, 3_000_000)
    numbers = np.random.default_rng(seed)
    while True:
        number = int(numbers.integers(60))
        data = blob(number, 50_000)
        found = cache.read(name_of(number % 20), 50_000 * (number // 20), 50_000, zlib.crc32(data))
        if found is None:
            cache.write(name_of(number % 20), 50_000 * (number // 20), data)
        elif found != data:
            (folder / "wrong").touch()


def test_processes_share_it_and_may_be_killed(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_fill, args=(folder, seed)) for seed in range(3)]
    for process in processes:
        process.start()
    time.sleep(0.5)
    for process in processes:
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    assert not (folder / "wrong").exists()
    last = 3 * 60_000  # what each wrote last, if it was killed before it made room; a later write does
    assert 0 < stored(folder) <= 3_000_000 + last
    cache = RangeCache(folder, 3_000_000)
    for number in range(60):
        data = blob(number, 50_000)
        assert cache.read(name_of(number % 20), 50_000 * (number // 20), 50_000, zlib.crc32(data)) in (
            None,
            data,
        )
        cache.write(name_of(number % 20), 50_000 * (number // 20), data)
    assert stored(folder) <= 3_000_000


def test_a_removed_file_holds_no_room_in_other_processes(tmp_path: Path) -> None:
    first, second = RangeCache(tmp_path, 10**8), RangeCache(tmp_path, 200_000)
    first.write(name_of(1), 0, blob(1, 150_000))
    os.utime(first._path(name_of(1)), (1, 1))
    second.write(name_of(2), 0, blob(2, 100_000))
    assert not first._path(name_of(1)).exists()
    descriptor = first._files[name_of(1)][0]
    assert os.fstat(descriptor).st_blocks == 0
    first.write(name_of(1), 0, blob(1, 1000))
    assert first.read(name_of(1), 0, 1000, zlib.crc32(blob(1, 1000))) == blob(1, 1000)

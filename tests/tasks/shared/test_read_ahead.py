"""Samples that threads read ahead: order, how far ahead, errors in their place, and what is left after a stop."""

import threading
import time
from pathlib import Path

import pytest

from codistill.errors import ConfigError, DataError
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.read_ahead import read_ahead


def slow(index: int) -> int:
    time.sleep(0.001 * (index % 3))
    return index


@pytest.mark.parametrize("threads", [None, 0, 1, 4])
@pytest.mark.parametrize("count", [0, 1, 2, 25])
def test_samples_come_in_order(count: int, threads: int | None) -> None:
    assert list(read_ahead(slow, count, threads)) == list(range(count))


@pytest.mark.parametrize(("threads", "ahead"), [(0, 0), (1, 2), (3, 4)])
def test_no_more_is_read_than_said(threads: int, ahead: int) -> None:
    begun: list[int] = []
    samples = read_ahead(lambda index: begun.append(index) or index, 100, threads)
    for taken in range(5):
        assert next(samples) == taken
        time.sleep(0.02)
        assert len(begun) == taken + 1 + ahead
    samples.close()  # type: ignore[attr-defined]
    assert len(begun) == 5 + ahead
    assert not [one for one in threading.enumerate() if one.name.startswith("codistill-read")]


@pytest.mark.parametrize("threads", [0, 2])
def test_an_error_comes_in_its_place(threads: int) -> None:
    def read(index: int) -> int:
        if index == 3:
            raise DataError("picture 3 cannot be read")
        return index

    samples = read_ahead(read, 9, threads)
    assert [next(samples) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(DataError, match="picture 3"):
        next(samples)


def test_fewer_than_no_threads_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="workers must be 0 or more; got -1"):
        Runtime(out=tmp_path, workers=-1)


def test_while_one_is_used_the_next_is_read() -> None:
    """30 samples that take 10 ms each to read and to use take less than the sum."""

    def read(index: int) -> int:
        time.sleep(0.01)
        return index

    start = time.perf_counter()
    for _ in read_ahead(read, 30, 2):
        time.sleep(0.01)
    assert time.perf_counter() - start < 0.55

"""Lazy sequences with one item per image, and timing of stages."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, TypeVar, overload

import torch

T = TypeVar("T")


class PerImage(Sequence[T], Generic[T]):
    """A sequence with one item per image, each computed when it is indexed."""

    def __init__(self, count: int, make: Callable[[int], T]) -> None:
        self._count, self._make = count, make

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> list[T]: ...

    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            return [self._make(i) for i in range(self._count)[index]]
        if not -self._count <= index < self._count:
            raise IndexError(f"image {index} of {self._count}")
        return self._make(index % self._count)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._count}, each computed when it is indexed)"

    def __len__(self) -> int:
        return self._count


@contextmanager
def timed(seconds: dict[str, float], stage: str, device: torch.device) -> Iterator[None]:
    """Add the wall time of a block to a stage; waits until the device has finished its asynchronous work."""
    start = _now(device)
    yield
    seconds[stage] = seconds.get(stage, 0.0) + _now(device) - start


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()

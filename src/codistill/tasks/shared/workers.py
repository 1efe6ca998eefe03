"""Loader workers: compute the items of a data set for a sequence of requests, and return them in order.

If a sample cannot be used, the worker sends the reason as text: a raised exception would arrive as its traceback.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from codistill.data.loader import default_workers
from codistill.data.worker_signals import leave_signals_to_the_loader
from codistill.errors import DataError
from codistill.imaging.threads import use_one_opencv_thread, without_opencv_threads

MadeType = TypeVar("MadeType")


@dataclass(frozen=True)
class _Sent:
    """A worker's result: the item, or the reason for the failure."""

    made: Any
    failure: str = ""

    def pin_memory(self) -> "_Sent":
        """Copy the item to page-locked memory; called by PyTorch's loader."""
        return replace(self, made=_pinned(self.made))


def _pinned(value: Any) -> Any:
    """Copy tensors, and those in tuples and dataclasses, to page-locked memory."""
    if isinstance(value, Tensor):
        return value.pin_memory()
    if isinstance(value, tuple):
        return tuple(_pinned(part) for part in value)
    if not is_dataclass(value) or isinstance(value, type):
        return value
    return replace(value, **{field.name: _pinned(getattr(value, field.name)) for field in fields(value)})


class _Carrying(Dataset[_Sent]):
    """A data set that returns its errors as text."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset

    def __getitem__(self, request: Any) -> _Sent:
        try:
            return _Sent(self.dataset[request])
        except DataError as error:
            return _Sent(None, str(error))


def made_by_workers(
    dataset: Dataset[MadeType], requests: Iterable[Any], *, workers: int | None, device: torch.device
) -> Iterator[MadeType]:
    """The data set's item for each request, in order.

    Args:
        dataset: indexed by requests.
        requests: read once, ahead of time by the workers.
        workers: loader processes; 0: this process, None: one per CPU of this process.
        device: for a GPU, items are put into page-locked memory.

    Raises:
        DataError: if a sample cannot be used.
    """
    workers = default_workers() if workers is None else workers
    loader = DataLoader(
        _Carrying(dataset),
        batch_size=None,
        sampler=requests,  # type: ignore[arg-type]
        num_workers=workers,
        prefetch_factor=2 if workers else None,
        pin_memory=device.type == "cuda",
        worker_init_fn=_one_thread,
        generator=torch.Generator(),  # PyTorch would draw its workers' seed from the global one
    )
    with without_opencv_threads():
        started = iter(loader)
    for sent in started:
        if sent.failure:
            raise DataError(sent.failure)
        yield sent.made


def _one_thread(_: int) -> None:
    use_one_opencv_thread()
    leave_signals_to_the_loader()
    torch.set_num_threads(1)

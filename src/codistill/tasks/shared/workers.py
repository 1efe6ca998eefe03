"""Loader workers: a data set and requests in, its item for each request out, in order.

Why a sample could not be used is carried from the worker: an exception would arrive as its traceback.
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
    """What a worker sends back: what it made, or why it could not."""

    made: Any
    failure: str = ""

    def pin_memory(self) -> "_Sent":
        """The same in page-locked memory; called by PyTorch's loader."""
        return replace(self, made=_pinned(self.made))


def _pinned(value: Any) -> Any:
    """Tensors, and those in tuples and dataclasses, in page-locked memory."""
    if isinstance(value, Tensor):
        return value.pin_memory()
    if isinstance(value, tuple):
        return tuple(_pinned(part) for part in value)
    if not is_dataclass(value) or isinstance(value, type):
        return value
    return replace(value, **{field.name: _pinned(getattr(value, field.name)) for field in fields(value)})


class _Carrying(Dataset[_Sent]):
    """A data set that sends its errors."""

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
    """The data set's item for each request.

    Args:
        dataset: indexed by requests.
        requests: read ahead by the workers, once.
        workers: processes; 0: this one, None: one per CPU of this process.
        device: items for a GPU are put into page-locked memory.

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

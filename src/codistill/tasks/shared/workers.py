"""Loader workers: a data set and requests in, its item for each request out, in order.

Items carry in `failure` why a sample cannot be used: an exception would arrive as a traceback.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Protocol, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from codistill.data.loader import default_workers
from codistill.data.worker_signals import leave_signals_to_the_loader
from codistill.errors import DataError
from codistill.imaging.threads import use_one_opencv_thread, without_opencv_threads


class Made(Protocol):
    """An item from a worker.

    Attributes:
        failure: why a sample cannot be used; "" if it can.
    """

    @property
    def failure(self) -> str: ...


MadeType = TypeVar("MadeType", bound=Made)


def made_by_workers(
    dataset: Dataset[MadeType],
    requests: Iterable[Any],
    *,
    workers: int | None,
    device: torch.device,
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
        dataset,
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
    for made in started:
        if made.failure:
            raise DataError(made.failure)
        yield made


def _one_thread(_: int) -> None:
    use_one_opencv_thread()
    leave_signals_to_the_loader()
    torch.set_num_threads(1)

"""Copy batches from the host to the device; on CUDA through a side stream, so that copying overlaps with computing."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Generic

import torch

from codistill.engine.objective import BatchT
from codistill.errors import DataError


class DeviceBatches(Generic[BatchT]):
    """Iterates over batches with their images on the device.

    On CUDA the host runs ahead of the device: when it asks for a batch, the device still computes the previous step,
    and the copy runs at the same time.

    Args:
        batches: on the host (pinned memory copies faster) or already on the device.
        device: device to copy the images to.
    """

    def __init__(self, batches: Iterable[BatchT], device: torch.device) -> None:
        self._batches = iter(batches)
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def __iter__(self) -> Iterator[BatchT]:
        return self

    def __next__(self) -> BatchT:
        # A validation calls this under autocast, which is for the model only: on a CPU it refuses to join fp16 data.
        with torch.autocast(self._device.type, enabled=False):
            batch = next(self._batches)
        if self._stream is None or batch.images.is_cuda:
            return batch
        images = batch.images if batch.images.is_pinned() else batch.images.pin_memory()
        with torch.cuda.stream(self._stream):
            images = images.to(self._device, non_blocking=True)
        current = torch.cuda.current_stream(self._device)
        current.wait_stream(self._stream)
        images.record_stream(current)
        return batch.with_images(images)

    def take(self, count: int, step: int) -> list[BatchT]:
        """Return the next `count` batches, those of one step.

        Raises:
            DataError: if fewer are left.
        """
        taken = list(islice(self, count))
        if len(taken) < count:
            raise DataError(
                f"the training data ended at step {step}, before the run did. A source of training batches must "
                "last for total_steps steps; its sampler decides that."
            )
        return taken

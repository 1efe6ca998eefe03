"""From requests to batches: workers decode and augment to 8 bits, and this process moves the bytes to the device.

Normalization happens on the device, so that only a quarter of the data has to be moved.
"""

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from multiprocessing.context import BaseContext

import torch
from torch.utils.data import DataLoader

from codistill.data.augment import AugmentConfig
from codistill.data.augment.device import photometric_batch
from codistill.data.loader_config import LoaderConfig, default_workers
from codistill.data.mixing import SourceSize
from codistill.data.orphans import end_with
from codistill.data.worker import RawBatch, Request, RequestedImages
from codistill.data.worker_signals import leave_signals_to_the_loader
from codistill.errors import DataError, StoreError
from codistill.imaging.normalize import imagenet_normalize_, normalized_in_one_pass, unit_range
from codistill.imaging.threads import use_one_opencv_thread, without_opencv_threads
from codistill.types import BadImage, Batch


class Requests:
    """A PyTorch sampler of requests, each made when it is needed."""

    def __init__(self, request: Callable[[int], Request], steps: range) -> None:
        self.request, self.steps = request, steps

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[Request]:
        return map(self.request, self.steps)

    def with_ahead(self, workers: int) -> Iterator[Request]:
        """Yield the requests, each with the slots of the next request to the same one of several workers."""
        waiting: deque[Request] = deque()
        for request in self:
            waiting.append(request)
            if len(waiting) > workers:
                yield replace(waiting.popleft(), ahead=request.slots)
        yield from waiting


class Batches:
    """An iterable of batches; each iteration starts its own workers."""

    def __init__(
        self,
        images: RequestedImages,
        requests: Requests,
        sizes: Sequence[SourceSize],
        augment: AugmentConfig | None,
        loader: LoaderConfig,
        device: torch.device,
    ) -> None:
        self.images, self.requests, self.sizes = images, requests, tuple(sizes)
        self.augment, self.loader, self.device = augment, loader, device

    def __len__(self) -> int:
        return len(self.requests)

    def __iter__(self) -> Iterator[Batch]:
        for raw in self._raw() if self.augment is not None else _without_empty(self._raw()):
            yield self._finish(raw)

    def _raw(self) -> Iterator[RawBatch]:
        workers = min(
            default_workers() if self.loader.num_workers is None else self.loader.num_workers, len(self)
        )
        ahead = any(source.reads_ahead for source in self.images.sources)
        batches = DataLoader(
            self.images,
            batch_size=None,
            sampler=self.requests.with_ahead(max(1, workers)) if ahead else self.requests,  # type: ignore[arg-type]
            num_workers=workers,
            prefetch_factor=self.loader.prefetch if workers else None,
            pin_memory=self.device.type == "cuda",
            multiprocessing_context=_start_context(self.loader.start_method) if workers else None,
            worker_init_fn=partial(_start_worker, loading=os.getpid()),
            generator=torch.Generator(),  # otherwise PyTorch draws the workers' seed from the global one
        )
        with without_opencv_threads():
            iterator = iter(batches)
        while True:
            try:
                raw = next(iterator)
            except StopIteration:
                return
            except RuntimeError as error:
                if "DataLoader worker" not in str(error):
                    raise
                raise DataError(
                    f"a loader worker died: {error}. Most often the machine or its shared memory is full: use fewer "
                    "workers (num_workers), a smaller prefetch, or more shared memory (/dev/shm)."
                ) from error
            if raw.failure:
                raise StoreError(raw.failure) if raw.of_store else DataError(raw.failure)
            yield raw

    def _finish(self, raw: RawBatch) -> Batch:
        """Move a batch to the device, apply colours if the device does that, and normalize."""
        pixels = raw.pixels.to(self.device, non_blocking=True)
        if raw.packed is None or self.augment is None:
            images = normalized_in_one_pass(pixels)
        else:
            packed = raw.packed.to(self.device, non_blocking=True)
            kernel, threshold = self.augment.blur_kernel, self.augment.solarize_threshold
            coloured = photometric_batch(unit_range(pixels), packed, kernel=kernel, threshold=threshold)
            images = imagenet_normalize_(coloured)
        return Batch(
            images=images,
            domains=tuple(self.sizes[index].domain for index in raw.source),
            sources=tuple(self.sizes[index].name for index in raw.source),
            names=raw.names,
            bad=raw.bad,
        )


def _without_empty(batches: Iterable[RawBatch]) -> Iterator[RawBatch]:
    """Yield batches with at least one image. Bad images of an empty batch are listed with the batch before it."""
    held: RawBatch | None = None
    bad: tuple[BadImage, ...] = ()
    for raw in batches:
        if raw.names and held is not None:
            yield replace(held, bad=bad)
            bad = ()
        held = raw if raw.names else held
        bad += raw.bad
    if held is not None:
        yield replace(held, bad=bad)


def _start_context(method: str) -> BaseContext:
    """The start method of workers. The fork server imports their modules once, for all of them."""
    if method == "auto":
        method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(["codistill.data.worker", "codistill.data.forkserver_signals"])
    return context


def _start_worker(_: int, loading: int) -> None:
    use_one_opencv_thread()
    leave_signals_to_the_loader()
    end_with(loading)

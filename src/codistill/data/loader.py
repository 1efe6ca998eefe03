"""Sources to batches: the training loader (endless mixing, resumable at any step) and the evaluation loader.

Workers decode and augment to 8 bits; this process moves the bytes to the device and normalizes there, so that a
quarter of the data travels. Loaders are plain iterables of `Batch`.
"""

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.context import BaseContext
from typing import Literal

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from codistill.data.augment import AugmentConfig
from codistill.data.augment.device import photometric_batch
from codistill.data.mixing import MixConfig, SourceSize
from codistill.data.opening import open_source
from codistill.data.pixels import imagenet_normalize_, normalized, unit_range
from codistill.data.sampler import MixingSampler, Slots
from codistill.data.source import Source, SourceConfig
from codistill.data.worker import EvaluationImages, RawBatch, Request, TrainingImages
from codistill.errors import ConfigError, DataError
from codistill.imaging import MAX_PIXELS
from codistill.imaging.threads import use_one_opencv_thread, without_opencv_threads
from codistill.types import BadImage, Batch

_CHANGEABLE = {"changeable": True}
START_METHODS = ("auto", "fork", "forkserver", "spawn")
_MOST_WORKERS = 16


@dataclass(frozen=True, kw_only=True)
class LoaderConfig:
    """How batches are made.

    Attributes:
        batch_size: images of a step over all ranks (a multiple of their number).
        image_size: side of the square images, in pixels.
        num_workers: processes per rank; 0 works in this one; None: the CPUs of this process, shared by the ranks of
            the machine, at most 16. The batches are the same whatever the number.
        prefetch: batches that each worker keeps ready.
        start_method: how workers start. `auto` is forkserver where there is one: fork can deadlock in the thread
            pools of PyTorch and OpenCV. A script then needs `if __name__ == "__main__":`, as with spawn.
        max_attempts: how many images in a row may be bad before the run stops.
        max_pixels: larger images count as bad (decompression bombs).
    """

    batch_size: int = 128
    image_size: int = 336
    num_workers: int | None = field(default=None, metadata=_CHANGEABLE)
    prefetch: int = field(default=2, metadata=_CHANGEABLE)
    start_method: Literal["auto", "fork", "forkserver", "spawn"] = field(default="auto", metadata=_CHANGEABLE)
    max_attempts: int = 20
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        for name in ("batch_size", "image_size", "prefetch", "max_attempts", "max_pixels"):
            if getattr(self, name) < 1:
                raise ConfigError(f"loader: {name} must be positive; got {getattr(self, name)}")
        if self.num_workers is not None and self.num_workers < 0:
            raise ConfigError(f"loader: num_workers must be 0 or more, or None; got {self.num_workers}")
        if self.start_method not in START_METHODS:
            raise ConfigError(
                f"loader: start_method must be one of {', '.join(START_METHODS)}; got {self.start_method!r}"
            )


def open_sources(sources: Sequence[SourceConfig]) -> tuple[list[Source], list[SourceSize]]:
    """Open sources and measure them.

    Raises:
        ConfigError: if two have the same name, or there are none.
        DataError: see `open_source`.
    """
    names = [source.name for source in sources]
    if not names or len(set(names)) != len(names):
        raise ConfigError(f"sources need different names, and one at least is needed; got {names}")
    opened = [open_source(source) for source in sources]
    return opened, [SourceSize(s.config.name, s.config.domain, len(s)) for s in opened]


def steps_per_epoch(sources: Sequence[SourceConfig], mix: MixConfig, batch_size: int) -> int:
    """Steps after which every image was seen at least once (for `balanced`: those of the largest domain)."""
    return MixingSampler(open_sources(sources)[1], mix, batch_size, seed=0).epoch_steps


def train_loader(
    sources: Sequence[SourceConfig],
    mix: MixConfig,
    augment: AugmentConfig,
    loader: LoaderConfig,
    *,
    seed: int,
    rank: int = 0,
    world_size: int = 1,
    start_step: int = 0,
    total_steps: int,
    device: torch.device | str = "cpu",
    size_of_step: Callable[[int], int] | None = None,
    images_of_step: Callable[[int], int] | None = None,
) -> Iterable[Batch]:
    """Batches of steps start_step to total_steps - 1: each is this rank's part of one step.

    Args:
        sources, mix, augment, loader: what to load, and how.
        seed, rank, world_size: which run, and which part of it; the images of a step do not depend on the world
            size. Local image b stands in slot rank + world_size * b.
        start_step: where to go on; nothing else is needed to resume.
        total_steps: of the whole run.
        device: where the batch is wanted; normalization (and the colours of implementation `device`) happen there.
        size_of_step: image side of a step, in place of `loader.image_size`.
        images_of_step: images of a step over all ranks, a multiple of their number and at most `loader.batch_size`;
            the other slots stay empty. Default: all.

    Raises:
        ConfigError, DataError: at once, if sources or options do not fit; while iterating, DataError if
            `loader.max_attempts` images in a row are bad, or a worker dies.
    """
    if loader.batch_size % world_size or not 0 <= rank < world_size:
        raise ConfigError(
            f"batch_size {loader.batch_size} must be a multiple of the number of ranks; rank {rank} of {world_size}"
        )
    opened, sizes = open_sources(sources)
    sampler = MixingSampler(sizes, mix, loader.batch_size, seed)
    images = TrainingImages(
        opened, sizes, augment, seed=seed, max_attempts=loader.max_attempts, max_pixels=loader.max_pixels
    )

    def request(step: int) -> Request:
        size = loader.image_size if size_of_step is None else size_of_step(step)
        images = None if images_of_step is None else images_of_step(step)
        return Request(sampler.slots(step, rank, world_size, images), size)

    steps = range(start_step, total_steps)
    return _Batches(images, _Requests(request, steps), sizes, augment, loader, torch.device(device))


def eval_loader(
    sources: Sequence[SourceConfig],
    loader: LoaderConfig,
    *,
    rank: int = 0,
    world_size: int = 1,
    device: torch.device | str = "cpu",
) -> Iterable[Batch]:
    """Every image of the sources once, in order, resized and centre-cropped; rank r has images r, r + world_size, ...

    A bad image is left out and listed in `Batch.bad`. Ranks may have different numbers of batches: run no collective
    per batch.

    Raises:
        ConfigError, DataError: as `train_loader`.
    """
    opened, sizes = open_sources(sources)
    ends = np.cumsum([size.length for size in sizes])
    per_rank = max(1, loader.batch_size // world_size)
    mine = range(rank, int(ends[-1]), world_size)

    def request(number: int) -> Request:
        index = np.array(mine[number * per_rank : (number + 1) * per_rank], dtype=np.int64)
        source = np.searchsorted(ends, index, side="right")
        starts = ends - np.array([size.length for size in sizes])
        return Request(Slots(number, index, source, index - starts[source]), loader.image_size)

    batches = range(-(-len(mine) // per_rank))
    images = EvaluationImages(opened, max_pixels=loader.max_pixels)
    return _Batches(images, _Requests(request, batches), sizes, None, loader, torch.device(device))


class _Requests:
    """A PyTorch sampler: what each batch is made of, made when it is asked for."""

    def __init__(self, request: Callable[[int], Request], steps: range) -> None:
        self.request, self.steps = request, steps

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[Request]:
        return map(self.request, self.steps)


class _Batches:
    """Iterable over batches; each iteration starts its own workers."""

    def __init__(
        self,
        images: Dataset[RawBatch],
        requests: _Requests,
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
            if raw.failure:
                raise DataError(raw.failure)
            yield self._finish(raw)

    def _raw(self) -> Iterator[RawBatch]:
        workers = min(
            default_workers() if self.loader.num_workers is None else self.loader.num_workers, len(self)
        )
        batches = DataLoader(
            self.images,
            batch_size=None,
            sampler=self.requests,  # type: ignore[arg-type]
            num_workers=workers,
            prefetch_factor=self.loader.prefetch if workers else None,
            pin_memory=self.device.type == "cuda",
            multiprocessing_context=_start_context(self.loader.start_method) if workers else None,
            worker_init_fn=_start_worker,
            generator=torch.Generator(),  # PyTorch would draw its workers' seed from the global one
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
            yield raw

    def _finish(self, raw: RawBatch) -> Batch:
        """Move to the device, finish the colours if they are to be done there, normalize."""
        pixels = raw.pixels.to(self.device, non_blocking=True)
        if raw.packed is None or self.augment is None:
            images = normalized(pixels)
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
    """Batches of which an image is left; the bad images of the others are listed with the one before."""
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


def default_workers() -> int:
    """The CPUs this process may use, shared by the ranks of this machine (LOCAL_WORLD_SIZE), at most 16."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, min(_MOST_WORKERS, cpus // max(1, ranks)))


def _start_context(method: str) -> BaseContext:
    """How workers start; the fork server imports what they need once, for all of them."""
    if method == "auto":
        method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(["codistill.data.worker"])
    return context


def _start_worker(_: int) -> None:
    use_one_opencv_thread()

"""Make training batches of views from images with ground truth; (seed, step) alone decide which sample fills a slot.

A view maker turns a sample and a random generator into a view of fixed size. Loader workers run it; this process
normalizes the images on the device. The same requests serve training (slots of steps) and the feature cache (samples of
passes).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from codistill.data.permutation import keys_of, permute
from codistill.data.randomness import Purpose, generator
from codistill.errors import ConfigError
from codistill.imaging.normalize import normalized
from codistill.tasks.shared.data import DenseData, DenseSample
from codistill.tasks.shared.workers import made_by_workers
from codistill.types import Batch

VIEW, PIXELS = Purpose.DENSE_VIEW, Purpose.DENSE_PIXELS


@dataclass(frozen=True)
class View:
    """One training view.

    Attributes:
        pixels: (row, column, 3), 0 to 255, any dtype.
        target: (row, column, …).
        inside: rows and columns of the image in the view; the rest, below and to the right, is padding, 0 after
            normalization.
    """

    pixels: np.ndarray
    target: np.ndarray
    inside: tuple[int, int]


class ViewMaker(Protocol):
    """Turns a sample into a training view; picklable.

    Attributes:
        size: rows and columns of every view.
    """

    @property
    def size(self) -> tuple[int, int]: ...

    def __call__(self, sample: DenseSample, rng: np.random.Generator) -> View:
        """Make a random view."""
        ...

    def plain(self, sample: DenseSample) -> View:
        """Make the view without randomness, used on held-out images to choose between heads."""
        ...


@dataclass(frozen=True, kw_only=True)
class DenseBatch(Batch):
    """A `Batch` with a target for every pixel.

    Attributes:
        target: (batch, row, column, …), on the host.
    """

    target: Tensor


@dataclass(frozen=True)
class Request:
    """A request for views of `items`, with random draws from (seed, step, slot); `plain` views have no randomness."""

    step: int
    slots: tuple[int, ...]
    items: tuple[int, ...]
    plain: bool = False


@dataclass(frozen=True)
class RawViews:
    """The views of one request, as a worker returns them."""

    pixels: Tensor
    target: Tensor
    inside: tuple[tuple[int, int], ...]
    names: tuple[str, ...]


class ViewDataset(Dataset[RawViews]):
    """A map-style data set indexed by requests: an item stacks the views of one request, made in a loader worker."""

    def __init__(self, data: DenseData, maker: ViewMaker, seed: int) -> None:
        self.data, self.maker, self.seed = data, maker, seed

    def __getitem__(self, request: Request) -> RawViews:
        views, names = [], []
        for slot, item in zip(request.slots, request.items, strict=True):
            sample = self.data[item]
            names.append(sample.name)
            if request.plain:
                views.append(self.maker.plain(sample))
            else:
                views.append(self.maker(sample, generator(self.seed, VIEW, request.step, slot)))
        return RawViews(
            torch.from_numpy(np.stack([view.pixels for view in views])),
            torch.from_numpy(np.stack([view.target for view in views])),
            tuple(view.inside for view in views),
            tuple(names),
        )


def normalized_inside(pixels: Tensor, inside: Sequence[tuple[int, int]]) -> Tensor:
    """Normalize pixels (batch, row, column, 3), 0 to 255, with ImageNet's statistics to (batch, 3, row, column).

    Pixels outside of `inside` (rows and columns of each image, from the top left) become 0.
    """
    images = normalized(pixels)
    for image, (rows, columns) in zip(images, inside, strict=True):
        image[:, rows:] = 0.0
        image[:, :, columns:] = 0.0
    return images


def view_batches(
    data: DenseData,
    maker: ViewMaker,
    requests: Iterable[Request],
    *,
    seed: int,
    workers: int | None = None,
    device: torch.device | str = "cpu",
) -> Iterator[DenseBatch]:
    """Make batches of views, in the order of the requests.

    Args:
        data, maker: samples, and what turns them into views.
        requests: the views to make; the workers read ahead.
        seed: seed of the random draws.
        workers: loader processes; 0: this process, None: one per CPU of this process.
        device: device on which images are normalized; targets stay on the host.

    Raises:
        DataError: if a sample cannot be used.
    """
    device = torch.device(device)
    made = made_by_workers(ViewDataset(data, maker, seed), requests, workers=workers, device=device)
    for raw in made:
        images = normalized_inside(raw.pixels.to(device, non_blocking=True), raw.inside)
        count = len(raw.names)
        yield DenseBatch(images, ("",) * count, ("",) * count, raw.names, target=raw.target)


def training_requests(
    count: int, batch_size: int, *, seed: int, steps: range, rank: int = 0, world_size: int = 1
) -> Iterator[Request]:
    """One request per step with this rank's slots; every pass over the `count` samples has its own random order."""
    for step in steps:
        slots = np.arange(rank, batch_size, world_size)
        passes, position = np.divmod(slots + step * batch_size, count)
        items = permute(position, count, keys_of(seed, passes))
        yield Request(step, tuple(slots.tolist()), tuple(items.tolist()))


def in_parts(requests: Iterable[Request], parts: int) -> Iterator[Request]:
    """Cut every request into `parts` requests of the same step, in order; samples and random draws stay the same."""
    for request in requests:
        size = len(request.slots) // parts
        for start in range(0, len(request.slots), size):
            part = slice(start, start + size)
            yield replace(request, slots=request.slots[part], items=request.items[part])


def step_requests(
    count: int,
    batch_size: int,
    *,
    total_steps: int,
    seed: int,
    accumulate: int = 1,
    rank: int = 0,
    world_size: int = 1,
) -> Callable[[int], Iterator[Request]]:
    """Requests of an engine run, as a function of the start step; `accumulate` requests make one step.

    They are made lazily: half a million of them would take minutes and a gigabyte.

    Raises:
        ConfigError: if the batch size is no multiple of the number of ranks times parts.
    """
    if batch_size < 1 or batch_size % (world_size * accumulate):
        parts = f" times {accumulate} parts" if accumulate > 1 else ""
        raise ConfigError(
            f"the batch of {batch_size} must be a multiple of the {world_size} processes{parts}"
        )

    def from_step(start: int) -> Iterator[Request]:
        steps = range(start, total_steps)
        requests = training_requests(
            count, batch_size, seed=seed, steps=steps, rank=rank, world_size=world_size
        )
        return in_parts(requests, accumulate)

    return from_step


def train_batches(
    data: DenseData,
    maker: ViewMaker,
    *,
    batch_size: int,
    total_steps: int,
    seed: int,
    rank: int = 0,
    world_size: int = 1,
    workers: int | None = None,
    device: torch.device | str = "cpu",
) -> Callable[[int], Iterable[DenseBatch]]:
    """Batches of an engine run, as a function of the start step; errors as in `step_requests`."""
    requests = step_requests(
        len(data), batch_size, total_steps=total_steps, seed=seed, rank=rank, world_size=world_size
    )
    return lambda start: view_batches(data, maker, requests(start), seed=seed, workers=workers, device=device)

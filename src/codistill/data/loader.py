"""From sources to batches: the training loader (mixes endlessly, resumes at any step) and the evaluation loader.

Both are plain iterables of `Batch`, made by `batches.py` and its workers (`worker.py`).
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch

from codistill.data.augment import AugmentConfig
from codistill.data.augment.draw import Size
from codistill.data.batches import Batches, Requests
from codistill.data.loader_config import LoaderConfig, default_workers
from codistill.data.mixing import MixConfig, SourceSize
from codistill.data.opening import DEFAULT_REMOTE, open_source
from codistill.data.sampler import MixingSampler, Slots
from codistill.data.source import Source, SourceConfig
from codistill.data.worker import EvaluationImages, Request, TrainingImages
from codistill.errors import ConfigError, DataError
from codistill.files.remote.config import RemoteConfig
from codistill.types import Batch

__all__ = [
    "LoaderConfig",
    "default_workers",
    "eval_loader",
    "open_sources",
    "steps_per_epoch",
    "train_loader",
]


def open_sources(
    sources: Sequence[SourceConfig], remote: RemoteConfig = DEFAULT_REMOTE
) -> tuple[list[Source], list[SourceSize]]:
    """Open sources and count their images; `remote` says how sources in a store are read.

    Raises:
        ConfigError: if two have the same name, or there are none.
        DataError: see `open_source`; all sources that cannot be used are named at once.
        StoreError: see `open_source`.
    """
    names = [source.name for source in sources]
    if not names or len(set(names)) != len(names):
        raise ConfigError(f"sources need different names, and one at least is needed; got {names}")
    opened: list[Source] = []
    wrong: list[str] = []
    for source in sources:
        try:
            opened.append(open_source(source, remote))
        except DataError as error:
            wrong.append(str(error))
    if len(wrong) > 1:
        listed = "\n".join(f"  {one}" for one in wrong)
        raise DataError(f"{len(wrong)} of {len(sources)} sources cannot be used:\n{listed}")
    if wrong:
        raise DataError(wrong[0])
    return opened, [SourceSize(s.config.name, s.config.domain, len(s)) for s in opened]


def steps_per_epoch(sources: Sequence[SourceConfig], mix: MixConfig, batch_size: int) -> int:
    """Number of steps after which every image was seen at least once (for `balanced`: those of the largest domain)."""
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
    size_of_step: Callable[[int], Size] | None = None,
    images_of_step: Callable[[int], int] | None = None,
) -> Iterable[Batch]:
    """Load the batches of steps start_step to total_steps - 1; each batch is this rank's part of one step.

    Args:
        sources, mix, augment, loader: what to load, and how.
        seed, rank, world_size: of the run and the process. The images of a step do not depend on the world size. Local
            image b has slot rank + world_size * b.
        start_step: first step of the iteration; nothing else is needed to resume.
        total_steps: of the whole run.
        device: of the batch. Images are normalized there; with implementation `device`, their colours are changed there
            too.
        size_of_step: size of a step's images (a side, or rows and columns), instead of `loader.image_size`.
        images_of_step: number of images of a step over all ranks: a multiple of the number of ranks, and at most
            `loader.batch_size`; the other slots stay empty. Default: all slots are used.

    Raises:
        ConfigError, DataError: at once, if sources or options do not fit. While iterating, DataError if
            `loader.max_attempts` images in a row are bad, or a worker dies.
        StoreError: if a store refuses an object, lacks a shard, or fails for longer than `loader.remote.patience`.
    """
    if loader.batch_size % world_size or not 0 <= rank < world_size:
        raise ConfigError(
            f"batch_size {loader.batch_size} must be a multiple of the number of ranks; rank {rank} of {world_size}"
        )
    opened, sizes = open_sources(sources, loader.remote)
    sampler = MixingSampler(sizes, mix, loader.batch_size, seed)
    images = TrainingImages(
        opened, sizes, augment, seed=seed, max_attempts=loader.max_attempts, max_pixels=loader.max_pixels
    )

    def request(step: int) -> Request:
        size = loader.image_size if size_of_step is None else size_of_step(step)
        images = None if images_of_step is None else images_of_step(step)
        return Request(sampler.slots(step, rank, world_size, images), size)

    steps = range(start_step, total_steps)
    return Batches(images, Requests(request, steps), sizes, augment, loader, torch.device(device))


def eval_loader(
    sources: Sequence[SourceConfig],
    loader: LoaderConfig,
    *,
    rank: int = 0,
    world_size: int = 1,
    device: torch.device | str = "cpu",
) -> Iterable[Batch]:
    """Load every image of the sources once, in order, resized and centre-cropped.

    Rank r has the images r, r + world_size, ... A bad image is left out and listed in `Batch.bad`. Ranks may have
    different numbers of batches, so no collective may be called per batch.

    Raises:
        ConfigError, DataError: as `train_loader`.
    """
    opened, sizes = open_sources(sources, loader.remote)
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
    return Batches(images, Requests(request, batches), sizes, None, loader, torch.device(device))

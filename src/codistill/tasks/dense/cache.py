"""Compute features of views once and store them as memory-mapped fp16, so that any number of heads can read them.

    DIR/tokens.f16     (view, patch, channel of all levels)
        cls.f16        (view, channel of all levels), if the encoder has class tokens
        target.…       (view, row, column, …): see `targets.py`
        …              key, inputs and progress: `stored_arrays.py`

View v belongs to pass v // N and sample v % N. The disk space needed is known before anything is written. An
interrupted build resumes; samples whose files changed are encoded again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from codistill.files.disk import check_room
from codistill.imaging.depth16 import MILLIMETRE
from codistill.nn.precision import autocast
from codistill.tasks.dense.targets import STORED, TargetKind
from codistill.tasks.shared.data import DenseData
from codistill.tasks.shared.features import FrozenFeatures
from codistill.tasks.shared.half import narrowed
from codistill.tasks.shared.inputs import inputs_of
from codistill.tasks.shared.loading import Request, ViewMaker, view_batches
from codistill.tasks.shared.stored_arrays import ArrayStore, Say
from codistill.types import Tokens


@dataclass(frozen=True)
class CacheShape:
    """Sizes of a cache.

    Attributes:
        views: number of views.
        grid: rows and columns of the token map.
        channels: channels of a patch token, summed over levels.
        cls_channels: channels of the class tokens of all levels; 0 if there are none.
        target: rows and columns of a target.
        kind: kind of the targets.
        unit: metres per stored depth unit.
    """

    views: int
    grid: tuple[int, int]
    channels: int
    cls_channels: int
    target: tuple[int, int]
    kind: TargetKind
    unit: float = MILLIMETRE

    def files(self) -> dict[str, tuple[tuple[int, ...], type[np.generic]]]:
        """Shape and number type by file name."""
        stored = STORED[self.kind]
        files: dict[str, tuple[tuple[int, ...], type[np.generic]]] = {
            "tokens.f16": ((self.views, self.grid[0] * self.grid[1], self.channels), np.float16),
            stored.file: ((self.views, *self.target, *stored.parts), stored.dtype),
        }
        if self.cls_channels:
            files["cls.f16"] = ((self.views, self.cls_channels), np.float16)
        return files

    @property
    def num_bytes(self) -> int:
        return sum(int(np.prod(shape)) * np.dtype(dtype).itemsize for shape, dtype in self.files().values())


class FeatureCache:
    """A complete cache that returns views as tensors.

    Args:
        folder: folder of the cache.
        shape: sizes of the cache.
        identity: hash of key and inputs (`ArrayStore.identity`).
    """

    def __init__(self, folder: Path, shape: CacheShape, identity: str) -> None:
        self.folder, self.shape, self.identity = folder, shape, identity
        self._maps = {
            name.partition(".")[0]: np.memmap(folder / name, dtype=dtype, mode="r", shape=size)
            for name, (size, dtype) in shape.files().items()
        }

    def __len__(self) -> int:
        return self.shape.views

    def tokens(self, views: np.ndarray) -> Tensor:
        """Patch tokens (view, patch, channel), fp16."""
        return torch.from_numpy(self._maps["tokens"][views])

    def cls(self, views: np.ndarray) -> Tensor | None:
        """Class tokens (view, channel), fp16; None if there are none."""
        return torch.from_numpy(self._maps["cls"][views]) if "cls" in self._maps else None

    def target(self, views: np.ndarray) -> Tensor:
        """Targets (view, row, column, …): classes as uint8, metres or unit vectors as fp32."""
        return STORED[self.shape.kind].read(self._maps["target"][views], self.shape.unit)

    def target_at(self, views: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> Tensor:
        """Targets (view, pixel, …) at chosen pixels; `rows` and `columns` are (view, pixel)."""
        numbers = self._maps["target"][views[:, None], rows, columns]
        return STORED[self.shape.kind].read(numbers, self.shape.unit)


def cache_shape(
    features: FrozenFeatures,
    maker: ViewMaker,
    views: int,
    kind: TargetKind,
    *,
    with_cls: bool,
    unit: float = MILLIMETRE,
) -> CacheShape:
    """Compute the sizes of a cache of `views` views."""
    levels = len(features.config.blocks)
    return CacheShape(
        views=views,
        grid=features.grid(maker.size),
        channels=features.channels * levels,
        cls_channels=features.cls_channels * levels if with_cls else 0,
        target=maker.size,
        kind=kind,
        unit=unit,
    )


def announce(shapes: dict[str, CacheShape], folder: Path) -> str:
    """State the disk space that the caches need, in one sentence, before anything is written.

    Raises:
        ConfigError: if the disk has less free space.
    """
    views = ", ".join(f"{shape.views} {name}" for name, shape in shapes.items())
    advice = (
        "Use fewer views (--views) or images (--limit), name a larger disk (--cache), or take the recipe `published`, "
        "which keeps nothing."
    )
    need = sum(shape.num_bytes for shape in shapes.values())
    return check_room(f"features of {views} views", need, folder, advice, rewritten=True)


def build_cache(
    folder: Path,
    key: dict[str, Any],
    shape: CacheShape,
    features: FrozenFeatures,
    data: DenseData,
    maker: ViewMaker,
    *,
    seed: int,
    plain: bool = False,
    batch_size: int = 16,
    workers: int | None = None,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] = lambda done, total: None,
    say: Say = lambda text: None,
) -> FeatureCache:
    """Open a cache and compute what it lacks.

    Args:
        folder: folder of this cache alone.
        key: identity of the contents, as JSON; a folder with another key is refused.
        shape: see `cache_shape`.
        features, data, maker: what to encode and with what; the features are on the device.
        seed: seed of the random views.
        plain: make one pass of views without randomness.
        batch_size: views per batch.
        workers, device: loader processes, and the device to compute on.
        progress: called with the number of views done and their total.
        say: prints what changed since the cache was made.

    Raises:
        ConfigError: if the folder holds another cache.
        DataError: if a sample cannot be used, or features do not fit into fp16.
        CheckpointError: if the disk is full or read-only.
    """
    store = ArrayStore(
        folder,
        key,
        shape.files(),
        inputs_of(data),
        passes=shape.views // len(data),
        by_place=not plain,
        say=say,
    )
    progress(store.made, shape.views)
    groups = list(store.groups(batch_size))
    if groups:
        requests = [Request(number, rows, rows, plain) for number, rows in groups]
        batches = view_batches(data, maker, requests, seed=seed, workers=workers, device=device)
        for (number, rows), batch in zip(groups, batches, strict=True):
            with autocast(device):
                levels = features(batch.images)
            views = number * len(data) + np.array(rows)
            _write(store.arrays(), views, levels, batch.target, batch.names, shape)
            store.wrote(number, rows, save_every=16 * batch_size)
            progress(store.made, shape.views)
    return FeatureCache(folder, shape, store.identity)


def _write(
    files: dict[str, np.memmap],
    views: np.ndarray,
    levels: list[Tokens],
    target: Tensor,
    names: tuple[str, ...],
    shape: CacheShape,
) -> None:
    advice = "Use the encoder's final norm (--norm), or the recipe `published`."
    tokens = torch.cat([level.patches for level in levels], dim=-1)
    files["tokens.f16"][views] = narrowed(tokens, names[0], advice)
    if "cls.f16" in files:
        cls = [level.cls for level in levels]
        files["cls.f16"][views] = narrowed(
            torch.cat([c for c in cls if c is not None], dim=-1), names[0], advice
        )
    stored = STORED[shape.kind]
    files[stored.file][views] = stored.store(target, shape.unit).numpy()

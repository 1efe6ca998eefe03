"""Compute tokens of pair views once and store them as memory-mapped arrays, with the ground truth of the same views.

    DIR/tokens.f16     (view of a pair, first or second, patch, channel)
        depth.u16      (view of a pair, first or second, row, column): millimetres, 0 unknown, 65535 sky
        camera.f32     (view of a pair, first or second, 25): intrinsics, camera-to-world
        …              key, inputs and progress: `shared/stored_arrays.py`

View v belongs to pass v // N and pair v % N. The disk space needed is known before anything is written. An interrupted
build resumes; pairs whose files or cameras changed are encoded again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from codistill.data.randomness import generator
from codistill.encoders.base import Encoder
from codistill.files.disk import check_room
from codistill.imaging.depth16 import from_metres, to_metres
from codistill.imaging.normalize import normalized
from codistill.nn.precision import autocast
from codistill.tasks.shared.half import narrowed
from codistill.tasks.shared.inputs import inputs_of
from codistill.tasks.shared.stored_arrays import ArrayStore, Say, open_array
from codistill.tasks.two_view.batches import VIEW
from codistill.tasks.two_view.pairs import Pair, PairData
from codistill.tasks.two_view.views import PairView, PairViews


@dataclass(frozen=True)
class CacheShape:
    """Sizes of a cache: number of pair views, token grid, channels, size of the views in pixels."""

    views: int
    grid: tuple[int, int]
    channels: int
    size: tuple[int, int]

    def files(self) -> dict[str, tuple[tuple[int, ...], type[np.generic]]]:
        """Shape and number type by file name."""
        return {
            "tokens.f16": ((self.views, 2, self.grid[0] * self.grid[1], self.channels), np.float16),
            "depth.u16": ((self.views, 2, *self.size), np.uint16),
            "camera.f32": ((self.views, 2, 25), np.float32),
        }

    @property
    def num_bytes(self) -> int:
        return sum(int(np.prod(shape)) * np.dtype(dtype).itemsize for shape, dtype in self.files().values())


class TokenCache:
    """A complete cache that returns views as tensors; `identity` is a hash of key and inputs."""

    def __init__(self, folder: Path, shape: CacheShape, identity: str) -> None:
        self.shape, self.identity = shape, identity
        maps = {
            name.partition(".")[0]: open_array(folder / name, size, dtype, mode="r")
            for name, (size, dtype) in shape.files().items()
        }
        self._tokens, self._depth, self._camera = maps["tokens"], maps["depth"], maps["camera"]

    def __len__(self) -> int:
        return self.shape.views

    def tokens(self, views: np.ndarray) -> Tensor:
        """Tokens (view, 2, patch, channel), fp16."""
        return torch.from_numpy(self._tokens[views])

    def truth(self, view: int) -> tuple[Tensor, Tensor, Tensor]:
        """Depths (2, row, column), intrinsics (2, 3, 3) and poses (2, 4, 4) of a pair view."""
        camera = torch.from_numpy(np.array(self._camera[view]))
        depths = torch.from_numpy(to_metres(self._depth[view]))
        return depths, camera[:, :9].reshape(2, 3, 3), camera[:, 9:].reshape(2, 4, 4)


def announce(shape: CacheShape, folder: Path) -> str:
    """State the disk space that a cache needs, in one sentence, before anything is written.

    Raises:
        ConfigError: if the disk has less free space.
    """
    advice = (
        "Use fewer views (--views) or pairs (--limit), name a larger disk (--cache), or take --no-cached, which keeps "
        "nothing."
    )
    return check_room(f"tokens of {shape.views} pair views", shape.num_bytes, folder, advice, rewritten=True)


def build_token_cache(
    folder: Path,
    key: dict[str, Any],
    shape: CacheShape,
    encoder: Encoder,
    data: PairData,
    maker: PairViews,
    *,
    seed: int,
    norm: bool,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] = lambda done, total: None,
    batch_size: int = 8,
    say: Say = lambda text: None,
) -> TokenCache:
    """Open a cache and compute what it lacks. The first pass has no randomness.

    Args:
        folder: folder of this cache alone.
        key: identity of the contents, as JSON; a folder with another key is refused.
        shape: sizes of the cache.
        encoder: the encoder, on the device.
        data, maker: pairs, and what turns them into views.
        seed: seed of the random views.
        norm: whether the encoder's final norm is applied to the tokens.
        device: device of the encoder.
        progress: called with the number of views done and their total.
        batch_size: pairs per batch.
        say: prints what changed since the cache was made.

    Raises:
        ConfigError: if the folder holds another cache.
        DataError: if a pair cannot be used, or tokens do not fit into fp16.
        CheckpointError: if the disk is full or read-only.
    """
    passes = shape.views // len(data)
    store = ArrayStore(
        folder,
        key,
        shape.files(),
        inputs_of(data),
        passes=passes,
        by_place=passes > 1,
        what="tokens",
        say=say,
    )
    progress(store.made, shape.views)
    for number, rows in list(store.groups(batch_size)):
        files = store.arrays()
        pairs = [data[row] for row in rows]
        views = [_view(maker, pair, number, row, seed) for pair, row in zip(pairs, rows, strict=True)]
        at = number * len(data) + np.array(rows)
        images = np.stack([v.images for v in views])
        files["tokens.f16"][at] = _encoded(encoder, images, norm, device, pairs[0].name)
        files["depth.u16"][at] = np.stack([from_metres(v.depths) for v in views])
        files["camera.f32"][at] = np.stack(
            [np.concatenate((v.intrinsics.reshape(2, 9), v.poses.reshape(2, 16)), axis=1) for v in views]
        )
        store.wrote(number, rows, save_every=32 * batch_size)
        progress(store.made, shape.views)
    return TokenCache(folder, shape, store.identity)


def _view(maker: PairViews, pair: Pair, number: int, item: int, seed: int) -> PairView:
    return maker.plain(pair) if number == 0 else maker(pair, generator(seed, VIEW, number, item))


@torch.inference_mode()
def _encoded(
    encoder: Encoder, images: np.ndarray, norm: bool, device: torch.device | str, name: str
) -> np.ndarray:
    """Encode (pair, 2, row, column, 3) images to (pair, 2, patch, channel) fp16 tokens."""
    pixels = normalized(torch.from_numpy(images).flatten(0, 1).to(device))
    with autocast(device):
        tokens = encoder(pixels, norm=norm).patches
    return narrowed(tokens.unflatten(0, (-1, 2)), name, "Take --no-cached, which keeps nothing.")

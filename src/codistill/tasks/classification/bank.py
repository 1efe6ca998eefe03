"""One feature vector per image, computed once and kept: the class token, the mean patch token, or both.

In: image paths and a frozen encoder. Out: (image, channel), fp32, memory-mapped. An interrupted pass goes on; images
whose files changed, or that are new, are computed alone.
Source: DINOv2's evaluation transform (shorter side 256, bicubic, centre crop 224).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from codistill.data.loader import default_workers
from codistill.errors import ConfigError, DataError
from codistill.files.inputs import stamped
from codistill.imaging import read_rgb, resize_rgb, without_ends
from codistill.imaging.normalize import normalized
from codistill.nn.precision import autocast
from codistill.tasks.shared.features import FrozenFeatures
from codistill.tasks.shared.stored_arrays import ArrayStore, Say
from codistill.types import Tokens

VectorKind = Literal["cls", "mean", "cls+mean"]
FEATURES = "features.npy"


@dataclass(frozen=True, kw_only=True)
class ImageVectors:
    """How an image becomes a vector.

    Attributes:
        kind: `cls`: class tokens of all levels beside each other (mean patches where an encoder has none); `mean`:
            mean patches; `cls+mean`: class tokens, then the last level's mean patch.
        resize: shorter side in pixels, bicubic.
        crop: side of the centre crop; the same as `resize` for none but the longer side's.
    """

    kind: VectorKind = "cls"
    resize: int = 256
    crop: int = 224

    def __post_init__(self) -> None:
        if self.kind not in ("cls", "mean", "cls+mean"):
            raise ConfigError(f"vectors must be cls, mean or cls+mean; got {self.kind!r}")
        if not 1 <= self.crop <= self.resize:
            raise ConfigError(f"1 <= crop <= resize (pixels) is needed; got {self.crop} and {self.resize}")

    def image(self, path: Path) -> np.ndarray:
        """(crop, crop, 3) uint8 of an image file."""
        return self.prepared(read_rgb(path))

    def prepared(self, image: np.ndarray) -> np.ndarray:
        """(crop, crop, 3) uint8: resized, then cut from the middle."""
        image = without_ends(image)
        rows, columns = image.shape[:2]
        factor = self.resize / min(rows, columns)
        size = (max(self.crop, round(rows * factor)), max(self.crop, round(columns * factor)))
        image = resize_rgb(image, size)
        top, left = (size[0] - self.crop) // 2, (size[1] - self.crop) // 2
        return image[top : top + self.crop, left : left + self.crop]

    def channels(self, levels: int, channels: int) -> int:
        """Of a vector from so many levels of tokens with so many channels each."""
        return channels * (levels + (self.kind == "cls+mean"))

    def vectors(self, levels: Sequence[Tokens]) -> Tensor:
        """(image, channel), fp32."""
        means = [tokens.patches.float().mean(1) for tokens in levels]
        classes = [
            mean if tokens.cls is None else tokens.cls.float()
            for tokens, mean in zip(levels, means, strict=True)
        ]
        parts = {"cls": classes, "mean": means, "cls+mean": [*classes, means[-1]]}
        return torch.cat(parts[self.kind], dim=1)


class _Images(Dataset[tuple[np.ndarray, str]]):
    """Prepared images, or why one cannot be used."""

    def __init__(self, paths: Sequence[Path], vectors: ImageVectors) -> None:
        self.paths, self.vectors = [str(path) for path in paths], vectors

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[np.ndarray, str]:
        try:
            return np.ascontiguousarray(self.vectors.image(Path(self.paths[index]))), ""
        except DataError as error:
            return np.zeros((self.vectors.crop, self.vectors.crop, 3), dtype=np.uint8), str(error)


def image_batches(
    paths: Sequence[Path], vectors: ImageVectors, batch_size: int, workers: int | None, device: torch.device
) -> Iterator[Tensor]:
    """Normalized images (batch, 3, crop, crop) on the device, in order.

    Raises:
        DataError: if an image cannot be read.
    """
    workers = default_workers() if workers is None else workers
    loader = DataLoader(
        _Images(paths, vectors),
        batch_size=batch_size,
        num_workers=workers,
        collate_fn=list,
        generator=torch.Generator(),
    )
    for items in loader:
        problem = next((reason for _, reason in items if reason), None)
        if problem:
            raise DataError(problem)
        pixels = torch.from_numpy(np.stack([image for image, _ in items])).to(device)
        yield normalized(pixels)


def build_bank(
    folder: Path,
    paths: Sequence[Path],
    vectors: ImageVectors,
    features: FrozenFeatures,
    *,
    data: str = "",
    batch_size: int = 32,
    workers: int | None = None,
    device: torch.device | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    say: Say = lambda text: None,
) -> np.ndarray:
    """Vectors of images, (image, channel) fp32, computed where they are not there yet.

    Args:
        folder: of this bank alone.
        paths, vectors, features: of what, how, and by what; the features are on the device.
        data: the data set's name: another one is refused.
        batch_size, workers, device: of the loading and the computing.
        progress: called with images done and in all.
        say: told what changed since the bank was made, if anything did.

    Raises:
        ConfigError: if the folder holds vectors of something else.
        DataError: if an image cannot be read.
        CheckpointError: if nothing can be written.
    """
    device = device or torch.device("cpu")
    key: dict[str, Any] = {"data": data, "features": features.fingerprint(), "vectors": repr(vectors)}
    channels = vectors.channels(len(features.config.blocks), features.channels)
    store = ArrayStore(
        folder,
        key,
        {FEATURES: ((len(paths), channels), np.float32)},
        stamped((path,) for path in paths),
        by_place=False,
        what="vectors",
        option="--out",
        say=say,
    )
    progress(store.made, len(paths))
    groups = [rows for _, rows in store.groups(batch_size)]
    missing = [paths[row] for rows in groups for row in rows]
    batches = image_batches(missing, vectors, batch_size, workers, device) if missing else ()
    for rows, images in zip(groups, batches, strict=True):
        with autocast(device):
            levels = features(images)
        store.arrays()[FEATURES][np.array(rows)] = vectors.vectors(levels).cpu().numpy()
        store.wrote(0, rows, save_every=32 * batch_size)
        progress(store.made, len(paths))
    return np.load(folder / FEATURES, mmap_mode="r")

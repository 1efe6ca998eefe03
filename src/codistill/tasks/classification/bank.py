"""Compute and store one feature vector per image: the class token, the mean patch token, or both.

Takes pictures and a frozen encoder; gives (image, channel), fp32, memory-mapped. An interrupted pass resumes. Later
passes compute only new images and images whose files changed.
Source: DINOv2's evaluation transform (shorter side 256, bicubic, centre crop 224).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from codistill.errors import ConfigError, DataError
from codistill.files.disk import check_room
from codistill.files.inputs import stamped
from codistill.imaging import resize_rgb, without_ends
from codistill.imaging.normalize import normalized
from codistill.nn.precision import autocast
from codistill.tasks.shared.features import FrozenFeatures
from codistill.tasks.shared.pictures import Pictures, prepared_batches
from codistill.tasks.shared.stored_arrays import ArrayStore, Say
from codistill.types import Tokens

VectorKind = Literal["cls", "mean", "cls+mean"]
FEATURES = "features.npy"


@dataclass(frozen=True, kw_only=True)
class ImageVectors:
    """How an image becomes a vector.

    Attributes:
        kind: `cls`: class tokens of all levels, concatenated (mean patch tokens if the encoder has no class token);
            `mean`: mean patch tokens of all levels; `cls+mean`: class tokens, then the mean patch token of the last
            level.
        resize: shorter side in pixels, bicubic.
        crop: side of the centre crop.
    """

    kind: VectorKind = "cls"
    resize: int = 256
    crop: int = 224

    def __post_init__(self) -> None:
        if self.kind not in ("cls", "mean", "cls+mean"):
            raise ConfigError(f"vectors must be cls, mean or cls+mean; got {self.kind!r}")
        if not 1 <= self.crop <= self.resize:
            raise ConfigError(f"1 <= crop <= resize (pixels) is needed; got {self.crop} and {self.resize}")

    def prepared(self, image: np.ndarray) -> np.ndarray:
        """Resize an image and take its centre crop, (crop, crop, 3) uint8."""
        image = without_ends(image)
        rows, columns = image.shape[:2]
        factor = self.resize / min(rows, columns)
        size = (max(self.crop, round(rows * factor)), max(self.crop, round(columns * factor)))
        image = resize_rgb(image, size)
        top, left = (size[0] - self.crop) // 2, (size[1] - self.crop) // 2
        return image[top : top + self.crop, left : left + self.crop]

    def channels(self, levels: int, features: FrozenFeatures) -> int:
        """Channels of a vector made from that many levels of tokens."""
        mean = features.channels
        cls = mean if self.kind == "mean" else features.cls_channels or mean
        return levels * cls + (mean if self.kind == "cls+mean" else 0)

    def vectors(self, levels: Sequence[Tokens]) -> Tensor:
        """Vectors (image, channel), fp32, from the tokens of all levels."""
        means = [tokens.patches.float().mean(1) for tokens in levels]
        classes = [
            mean if tokens.cls is None else tokens.cls.float()
            for tokens, mean in zip(levels, means, strict=True)
        ]
        parts = {"cls": classes, "mean": means, "cls+mean": [*classes, means[-1]]}
        return torch.cat(parts[self.kind], dim=1)


@torch.inference_mode()
def encode(
    pixels: UInt8[Tensor, "image crop crop 3"],
    vectors: ImageVectors,
    features: FrozenFeatures,
    device: torch.device,
) -> Float[Tensor, "image channel"]:
    """Encode prepared images to vectors (fp32, on the host); the encoder runs on `device`, in bf16 on a GPU."""
    seen = normalized(pixels.to(device, non_blocking=True))
    with autocast(device):
        levels = features(seen)
    return vectors.vectors(levels).cpu()


def encode_pictures(
    pictures: Pictures,
    batches: Sequence[Sequence[int]],
    vectors: ImageVectors,
    features: FrozenFeatures,
    *,
    workers: int | None,
    device: torch.device,
) -> Iterator[Float[Tensor, "image channel"]]:
    """Encode pictures to vectors (fp32, on the host), batch by batch.

    Args:
        pictures: the pictures.
        batches: indices of the pictures of each batch.
        vectors, features: how a picture becomes a vector, and the encoder on its device.
        workers, device: loader processes, and the device to compute on.

    Raises:
        DataError: if a picture cannot be read, or its vector is not finite.
    """
    made = prepared_batches(pictures, batches, vectors.prepared, workers=workers, device=device)
    for rows, pixels in zip(batches, made, strict=True):
        found = encode(pixels, vectors, features, device)
        if not found.isfinite().all():
            name = pictures[rows[0]].name
            raise DataError(f"features of {name} and others are not finite: is the encoder damaged?")
        yield found


def build_bank(
    folder: Path,
    pictures: Pictures,
    vectors: ImageVectors,
    features: FrozenFeatures,
    *,
    option: str,
    data: str = "",
    batch_size: int = 32,
    workers: int | None = None,
    device: torch.device | None = None,
    progress: Callable[[int], None] = lambda done: None,
    say: Say = lambda text: None,
) -> np.ndarray:
    """Compute the vectors that are missing in a folder; return all, (image, channel) fp32.

    Args:
        folder: the folder, used by this bank alone.
        pictures, vectors, features: the images, how they become vectors, and the encoder on its device.
        option: the command-line option that names another folder, for error messages.
        data: name of the data set; a folder of another data set is refused.
        batch_size, workers, device: batch size, loader processes, and the device to compute on.
        progress: called with the number of images done.
        say: prints the disk space needed, and what changed since the bank was made.

    Raises:
        ConfigError: if the folder holds other vectors, or the disk is too small.
        DataError: if an image cannot be used.
        CheckpointError: if nothing can be written.
    """
    size = (len(pictures), vectors.channels(len(features.config.blocks), features))
    need = 4 * size[0] * size[1]
    advice = f"Name a larger disk ({option}), or use fewer images (--limit)."
    say(check_room(f"vectors of {len(pictures)} images", need, folder, advice, rewritten=True))
    store = ArrayStore(
        folder,
        {"data": data, "features": features.fingerprint(), "vectors": repr(vectors)},
        {FEATURES: (size, np.float32)},
        stamped(pictures[row].files for row in range(len(pictures))),
        by_place=False,
        what="vectors",
        option=option,
        say=say,
    )
    progress(store.made)
    batches = [rows for _, rows in store.groups(batch_size)]
    device = device or torch.device("cpu")
    found = encode_pictures(pictures, batches, vectors, features, workers=workers, device=device)
    for rows, values in zip(batches, found, strict=True):
        store.arrays()[FEATURES][np.array(rows)] = values.numpy()
        store.wrote(0, rows, save_every=32 * batch_size)
        progress(store.made)
    return np.load(folder / FEATURES, mmap_mode="r")

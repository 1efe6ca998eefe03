"""Tokens of frozen encoders, computed once: every image as it is and mirrored, in half precision, in one file.

The file's name is a hash of the weights, the data and the size, so that another encoder or split never reads it.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from codistill.engine.files import cannot_write, make_directory
from codistill.tasks.frozen.features import FrozenFeatures
from codistill.tasks.frozen.loading import normalized
from codistill.tasks.people.sample import PeopleImages
from codistill.tasks.people.views import ViewLabels, mirrored_pixels, square_view
from codistill.types import Tokens

BATCH = 16


@dataclass(frozen=True)
class StoredTokens:
    """Tokens and labels of a whole data set.

    Attributes:
        values: (image, 2, patch, channel) float16, as it is and mirrored; mapped from a file.
        labels: per image.
    """

    values: np.ndarray
    labels: tuple[ViewLabels, ...]

    def patches(self, items: Sequence[int], flips: Sequence[bool]) -> Tensor:
        """(batch, patch, channel) fp32 of some images."""
        chosen = np.stack([self.values[item, int(flip)] for item, flip in zip(items, flips, strict=True)])
        return torch.from_numpy(chosen).float()


def head_tokens(features: FrozenFeatures, images: Tensor) -> Tokens:
    """One level of tokens, as a head with a norm of its own takes them."""
    tokens = features(images)[-1]
    # After a projector there is no final norm, and nothing to mix up: the head's own norm follows.
    return tokens if features.student is None else replace(tokens, normed=False)


def store_tokens(
    data: PeopleImages,
    features: FrozenFeatures,
    size: int,
    folder: Path,
    *,
    about: str,
    mirror: bool,
    device: torch.device,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> StoredTokens:
    """Compute, or find, the tokens of a data set; its labels are read in any case.

    Args:
        data: labelled images.
        features: the frozen encoder, on `device`.
        size: of the squares.
        folder: where the file is kept.
        about: what tells this data from other data: spec, split, limit.
        mirror: mirrored images as well.
        device: to compute on.
        progress: called with images done and in all.

    Raises:
        DataError: if an image cannot be used.
        CheckpointError: if the file cannot be written.
    """
    make_directory(folder)
    views = 2 if mirror else 1
    cells = (size // features.patch_size) ** 2
    shape = (len(data), views, cells, features.channels)
    key = hashlib.sha256(repr((features.fingerprint(), about, size, shape)).encode()).hexdigest()[:16]
    path = folder / f"people-{key}.npy"
    found = path.is_file()
    partial = path.with_suffix(".partial.npy")
    try:
        values = None if found else np.lib.format.open_memmap(partial, "w+", np.float16, shape)
        labels: list[ViewLabels] = []
        for start in range(0, len(data), BATCH):
            made = [square_view(data[index], size) for index in range(start, min(start + BATCH, len(data)))]
            labels += [one for _, one in made]
            if values is not None:
                for view in range(views):
                    pixels = [mirrored_pixels(p) if view else p for p, _ in made]
                    values[start : start + len(made), view] = _encoded(features, pixels, device)
            progress(len(labels), len(data))
        if values is not None:
            values.flush()
            del values
            os.replace(partial, path)  # noqa: PTH105
        return StoredTokens(np.load(path, mmap_mode="r"), tuple(labels))
    except OSError as error:
        raise cannot_write(path, error) from error


@torch.inference_mode()
def _encoded(features: FrozenFeatures, pixels: Sequence[np.ndarray], device: torch.device) -> np.ndarray:
    images = normalized(torch.from_numpy(np.stack(pixels)).to(device))
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        return head_tokens(features, images).patches.to(torch.float16).cpu().numpy()

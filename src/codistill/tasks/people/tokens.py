"""Tokens of frozen encoders, computed once: every image as it is and mirrored, in half precision, in one folder.

The folder's name is a hash of the weights, the data and the size, so that another encoder or split never reads it;
images whose files changed are computed again (`shared/stored_arrays.py`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from codistill.files.hashes import text_sha256
from codistill.imaging.normalize import normalized
from codistill.nn.precision import autocast
from codistill.tasks.people.sample import PeopleImages
from codistill.tasks.people.views import ViewLabels, mirrored_pixels, square_view
from codistill.tasks.shared.features import FrozenFeatures
from codistill.tasks.shared.half import narrowed
from codistill.tasks.shared.inputs import inputs_of
from codistill.tasks.shared.stored_arrays import ArrayStore, Say, open_array
from codistill.types import Tokens

BATCH = 16
TOKENS = "tokens.f16"


@dataclass(frozen=True)
class StoredTokens:
    """Tokens and labels of a whole data set.

    Attributes:
        values: (image, 2, patch, channel) float16, as it is and mirrored; mapped from a file.
        labels: per image.
        file: that holds the values.
    """

    values: np.ndarray
    labels: tuple[ViewLabels, ...]
    file: Path

    @classmethod
    def opened(cls, file: Path, shape: tuple[int, ...], labels: tuple[ViewLabels, ...]) -> "StoredTokens":
        """Map the values of a file that is complete; each process does so for itself."""
        return cls(open_array(file, shape, np.float16, mode="r"), labels, file)

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
    say: Say = lambda text: None,
) -> StoredTokens:
    """Compute, or find, the tokens of a data set; its labels are read in any case.

    Args:
        data: labelled images.
        features: the frozen encoder, on `device`.
        size: of the squares.
        folder: where tokens are kept, in a folder of their own.
        about: what tells this data from other data: spec, split, limit.
        mirror: mirrored images as well.
        device: to compute on.
        progress: called with images done and in all.
        say: told what changed since the tokens were computed, if anything did.

    Raises:
        DataError: if an image cannot be used, or tokens do not fit into fp16.
        CheckpointError: if they cannot be written.
    """
    key = {"features": features.fingerprint(), "data": about, "size": size, "mirror": mirror}
    place = folder / f"people-{text_sha256(repr(key))[:16]}"
    views = 2 if mirror else 1
    shape = (len(data), views, (size // features.patch_size) ** 2, features.channels)
    files = {TOKENS: (shape, np.float16)}
    store = ArrayStore(place, key, files, inputs_of(data), by_place=False, what="tokens", say=say)
    missing = set(store.todo().tolist())
    labels: list[ViewLabels] = []
    for start in range(0, len(data), BATCH):
        rows = range(start, min(start + BATCH, len(data)))
        made = [square_view(data[row], size) for row in rows]
        labels += [one for _, one in made]
        wanted = [at for at, row in enumerate(rows) if row in missing]
        if wanted:
            chosen = np.array(rows)[wanted]
            for view in range(views):
                pixels = [mirrored_pixels(made[at][0]) if view else made[at][0] for at in wanted]
                store.arrays()[TOKENS][chosen, view] = _encoded(
                    features, pixels, device, made[wanted[0]][1].name
                )
            store.wrote(0, tuple(chosen.tolist()), save_every=32 * BATCH)
        progress(len(labels), len(data))
    return StoredTokens.opened(place / TOKENS, shape, tuple(labels))


@torch.inference_mode()
def _encoded(
    features: FrozenFeatures, pixels: Sequence[np.ndarray], device: torch.device, name: str
) -> np.ndarray:
    images = normalized(torch.from_numpy(np.stack(pixels)).to(device))
    with autocast(device):
        tokens = head_tokens(features, images).patches
    return narrowed(tokens, name, "Encode in every step (--online), which keeps nothing.")

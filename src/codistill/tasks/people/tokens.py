"""Compute tokens of a frozen encoder once, for every image and its mirror image, and store them in half precision.

    DIR/people-HASH/tokens.npy          (image, 1 or 2, patch, channel) float16
                    labels.safetensors  cameras and people of all images: `stored_labels.py`
                    …                   key, inputs and progress: `shared/stored_arrays.py`

HASH is computed from weights, data and size, so that another encoder or split never reads these tokens. The disk space
needed is known before anything is written. An interrupted store resumes; images whose files or labels changed are
encoded again. Reading a complete store opens no image.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from codistill.files.disk import check_room
from codistill.files.hashes import text_sha256
from codistill.imaging.normalize import normalized
from codistill.nn.precision import autocast
from codistill.tasks.people.config import PeopleFit
from codistill.tasks.people.sample import PeopleImages
from codistill.tasks.people.stored_labels import LABELS, made_from, read_labels, write_labels
from codistill.tasks.people.views import ViewLabels, mirrored_pixels, square_view
from codistill.tasks.shared.features import FrozenFeatures
from codistill.tasks.shared.half import narrowed
from codistill.tasks.shared.inputs import inputs_of
from codistill.tasks.shared.stored_arrays import ArrayStore, Say
from codistill.tasks.shared.workers import made_by_workers
from codistill.types import Tokens

BATCH = 16
TOKENS = "tokens.npy"


@dataclass(frozen=True)
class StoredTokens:
    """Tokens and labels of a whole data set.

    Attributes:
        values: (image, 2, patch, channel) float16, plain and mirrored; memory-mapped.
        labels: labels per image.
    """

    values: np.ndarray
    labels: tuple[ViewLabels, ...]

    @classmethod
    def opened(cls, folder: Path) -> "StoredTokens":
        """Open the result of `store_tokens`; each process must do so itself.

        Raises:
            CheckpointError: if the labels cannot be read.
        """
        values = np.load(folder / TOKENS, mmap_mode="r", allow_pickle=False)
        return cls(values, read_labels(folder / LABELS))

    def patches(self, items: Sequence[int], flips: Sequence[bool]) -> Tensor:
        """Tokens (batch, patch, channel) of some images, fp32."""
        chosen = np.stack([self.values[item, int(flip)] for item, flip in zip(items, flips, strict=True)])
        return torch.from_numpy(chosen).float()


def head_tokens(features: FrozenFeatures, images: Tensor) -> Tokens:
    """One level of un-normed tokens, for a head with its own norm."""
    return features.for_head(features(images)[-1], normed=False)


def store_tokens(
    data: PeopleImages,
    features: FrozenFeatures,
    size: int,
    folder: Path,
    *,
    about: str,
    mirror: bool,
    device: torch.device,
    workers: int | None = None,
    progress: Callable[[int], None] = lambda done: None,
    say: Say = lambda text: None,
) -> Path:
    """Compute the missing tokens and labels of a data set; called by one process.

    Args:
        data: labelled images.
        features: the frozen encoder, on `device`.
        size: side of the square images.
        folder: parent of the store's folder.
        about: identity of the data: spec, split, limit.
        mirror: store mirrored images as well.
        device: device to compute on.
        workers: loader processes; 0: this process, None: one per CPU of this process.
        progress: called with the number of images done.
        say: prints the disk space needed, and what changed since the tokens were computed.

    Returns:
        The folder, for `StoredTokens.opened`.

    Raises:
        ConfigError: if the disk is too small.
        DataError: if an image cannot be used, or tokens do not fit into fp16.
        CheckpointError: if they cannot be written.
    """
    key = {"features": features.fingerprint(), "data": about, "size": size, "mirror": mirror}
    place = folder / f"people-{text_sha256(repr(key))[:16]}"
    shape = (len(data), 2 if mirror else 1, (size // features.patch_size) ** 2, features.channels)
    advice = (
        "Use fewer images (--limit) or smaller ones (--size), name a larger disk (--cache), or encode in every step "
        f"({PeopleFit.fresh}), which keeps nothing."
    )
    need = 2 * int(np.prod(shape))
    say(check_room(f"tokens of {len(data)} images", need, place, advice, rewritten=True))
    files = {TOKENS: (shape, np.float16)}
    store = ArrayStore(place, key, files, inputs_of(data), by_place=False, what="tokens", say=say)
    missing = set(store.todo().tolist())
    labelled = made_from(place / LABELS) == store.identity
    rows = sorted(missing) if labelled else list(range(len(data)))
    groups = [tuple(rows[start : start + BATCH]) for start in range(0, len(rows), BATCH)]
    labels: list[ViewLabels] = []
    done = len(data) - len(rows)
    progress(done)
    host = torch.device("cpu")
    squares = made_by_workers(_Squares(data, size), groups, workers=workers, device=host) if groups else ()
    for made in squares:
        labels += [one.on_its_own() for one in made.labels]
        wanted = [at for at, row in enumerate(made.rows) if row in missing]
        if wanted:
            chosen = tuple(made.rows[at] for at in wanted)
            for view in range(shape[1]):
                pixels = [mirrored_pixels(made.pixels[at]) if view else made.pixels[at] for at in wanted]
                found = _encoded(features, pixels, device, made.labels[wanted[0]].name)
                store.arrays()[TOKENS][np.array(chosen), view] = found
            store.wrote(0, chosen, save_every=32 * BATCH)
        done += len(made.rows)
        progress(done)
    if not labelled:
        write_labels(place / LABELS, labels, store.identity)
    return place


@dataclass(frozen=True)
class _Group:
    """Square images of a group, (size, size, 3) uint8 each, and their labels."""

    rows: tuple[int, ...]
    pixels: tuple[np.ndarray, ...]
    labels: tuple[ViewLabels, ...]


class _Squares(Dataset[_Group]):
    """A map-style data set indexed by groups of image numbers."""

    def __init__(self, data: PeopleImages, size: int) -> None:
        self.data, self.size = data, size

    def __getitem__(self, rows: tuple[int, ...]) -> _Group:
        pixels, labels = zip(*(square_view(self.data[row], self.size) for row in rows), strict=True)
        return _Group(rows, pixels, labels)


@torch.inference_mode()
def _encoded(
    features: FrozenFeatures, pixels: Sequence[np.ndarray], device: torch.device, name: str
) -> np.ndarray:
    images = normalized(torch.from_numpy(np.stack(pixels)).to(device))
    with autocast(device):
        tokens = head_tokens(features, images).patches
    return narrowed(tokens, name, f"Encode in every step ({PeopleFit.fresh}), which keeps nothing.")

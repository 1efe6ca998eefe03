"""Retrieval: vectors of images and of their captions in, recall at k in both directions out.

An image finds a caption where one of its own is among the k nearest of all captions; a caption finds its image where
that is among the k nearest of all images. Nearest by cosine (CLIP, arXiv 2103.00020; RADIO, SigLino).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from codistill.errors import DataError
from codistill.files.npz import read_npz, write_npz

RANKS = (1, 5, 10)
_MADE = "It holds embeddings (text, channel), images (text,), names of files, and tower, the name of the image encoder"


@dataclass(frozen=True)
class Captions:
    """One unit vector per caption.

    Attributes:
        values: (text, channel).
        images: of each, the name of its image.
        tower: the image encoder of their space.
    """

    values: Float[Tensor, "text channel"]
    images: tuple[str, ...]
    tower: str

    @property
    def names(self) -> tuple[str, ...]:
        """The images, each once, in the order of their first captions."""
        return tuple(dict.fromkeys(self.images))

    def owners(self) -> Int[Tensor, " text"]:
        """Of each caption the place of its image in `names`."""
        place = {name: number for number, name in enumerate(self.names)}
        return torch.tensor([place[name] for name in self.images])


def read_captions(path: Path) -> Captions:
    """The captions' embeddings in a file.

    Raises:
        DataError: if it cannot be read, lacks an array, or shapes disagree.
    """
    wanted = ("embeddings", "images", "tower")
    found = read_npz(path.expanduser(), wanted)
    lacking = [name for name in wanted if name not in found]
    if lacking:
        raise DataError(f"{path}: has no {', '.join(lacking)}. {_MADE}.")
    values, images = found["embeddings"], tuple(str(name) for name in found["images"].reshape(-1))
    good = values.ndim == 2 and np.issubdtype(values.dtype, np.floating) and len(values) == len(images)
    if not good or 0 in values.shape:
        raise DataError(
            f"{path}: embeddings {values.shape} ({values.dtype}) do not go with {len(images)} images. {_MADE}."
        )
    vectors = torch.from_numpy(values.astype(np.float32))
    if not vectors.isfinite().all() or (vectors.norm(dim=-1) == 0).any():
        raise DataError(f"{path}: an embedding is zero or not finite; make the file again")
    return Captions(normalize(vectors, dim=-1), images, str(found["tower"].item()))


def found_at(
    images: Float[Tensor, "image channel"],
    texts: Float[Tensor, "text channel"],
    owners: Int[Tensor, " text"],
    ranks: tuple[int, ...] = RANKS,
) -> tuple[Bool[Tensor, "image rank"], Bool[Tensor, "text rank"]]:
    """Whether each image finds one of its captions within each rank, and each caption its image.

    Equal cosines count against what is sought.

    Args:
        images, texts: vectors of any length.
        owners: of each caption the index of its image.
        ranks: how many are looked at.
    """
    scores = normalize(images.float(), dim=-1) @ normalize(texts.float(), dim=-1).T  # (image, text)
    own = owners[None] == torch.arange(len(images))[:, None]
    best = torch.where(own, scores, -torch.inf).amax(1)  # of each image, its best caption
    before = ((scores >= best[:, None]) & ~own).sum(1)
    sought = scores.gather(0, owners[None])[0]  # of each caption, its image
    ahead = ((scores >= sought[None]) & ~own).sum(0)
    limits = torch.tensor(ranks)
    return before[:, None] < limits, ahead[:, None] < limits


def write_captions(path: Path, values: Tensor, images: tuple[str, ...], tower: str) -> None:
    """Write embeddings (text, channel) as `read_captions` reads them.

    Raises:
        WriteError: if the file cannot be written.
    """
    arrays = {"embeddings": values.numpy(), "images": np.array(images), "tower": np.array(tower)}
    write_npz(path, arrays)

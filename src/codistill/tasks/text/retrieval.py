"""Retrieval: recall at k in both directions, from vectors of images and of their captions.

An image is counted if one of its own captions is among the k nearest of all captions; a caption, if its image is among
the k nearest of all images. Nearest means the largest cosine (CLIP, arXiv 2103.00020; RADIO, SigLino).
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
from codistill.tasks.text.embeddings import one_tower

RANKS = (1, 5, 10)
_MADE = "It holds embeddings (text, channel), images (text,), names of files, and tower, the name of the image encoder"


@dataclass(frozen=True)
class Captions:
    """One unit vector per caption.

    Attributes:
        values: (text, channel).
        images: name of the image of each caption.
        tower: the image encoder whose space they share.
    """

    values: Float[Tensor, "text channel"]
    images: tuple[str, ...]
    tower: str

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the images, each once, in the order of their first captions."""
        return tuple(dict.fromkeys(self.images))

    def owners(self) -> Int[Tensor, " text"]:
        """For each caption, the index of its image in `names`."""
        place = {name: number for number, name in enumerate(self.names)}
        return torch.tensor([place[name] for name in self.images])


def read_captions(path: Path) -> Captions:
    """Read the caption embeddings in a file.

    Raises:
        DataError: if the file cannot be read, lacks an array, or shapes disagree.
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
    return Captions(normalize(vectors, dim=-1), images, one_tower(path, found["tower"]))


def found_at(
    images: Float[Tensor, "image channel"],
    texts: Float[Tensor, "text channel"],
    owners: Int[Tensor, " text"],
    ranks: tuple[int, ...] = RANKS,
) -> tuple[Bool[Tensor, "image rank"], Bool[Tensor, "text rank"]]:
    """Whether each image finds one of its captions within each rank, and each caption its image.

    Ties count against the correct item.

    Args:
        images, texts: vectors of any length.
        owners: for each caption, the index of its image.
        ranks: numbers of nearest items that are considered.
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
    """Write embeddings (text, channel) in the format of `read_captions`.

    Raises:
        WriteError: if the file cannot be written.
    """
    arrays = {"embeddings": values.numpy(), "images": np.array(images), "tower": np.array(tower)}
    write_npz(path, arrays)

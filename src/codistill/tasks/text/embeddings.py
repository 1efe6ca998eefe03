"""Zero-shot classification: class embeddings from a teacher's text tower, compared with an image's vector.

The file, an .npz, is made once with the text tower. It holds `embeddings` (class, channel), or (class, template,
channel) before averaging; `classes` (class,), names as in the data set; `tower`, the name of the image encoder that
belongs to the text tower. An image's vector is the encoder's own summary, or a student's class token after a teacher's
projector, converted back to the teacher's feature space. Vectors and embeddings are compared by their cosine; with
several templates, a class is the mean of their unit vectors (CLIP, arXiv 2103.00020). Scale and bias of the tower do
not change the ranking.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from codistill.errors import DataError
from codistill.files.npz import read_npz, write_npz

MADE = (
    "It holds embeddings (class, channel) or (class, template, channel), classes (class,) and tower, the name of "
    "the image encoder"
)


@dataclass(frozen=True)
class ClassEmbeddings:
    """One unit vector per class.

    Attributes:
        values: (class, channel).
        classes: names of the classes.
        tower: the image encoder whose space they share.
        templates: number of texts averaged per class.
    """

    values: Float[Tensor, "class channel"]
    classes: tuple[str, ...]
    tower: str
    templates: int

    def ordered(self, classes: tuple[str, ...], what: str) -> "ClassEmbeddings":
        """The embeddings of a data set's classes, in its order.

        Raises:
            DataError: if the data set's classes are not those of the file.
        """
        missing, surplus = (
            sorted(set(a) - set(b)) for a, b in ((classes, self.classes), (self.classes, classes))
        )
        if missing or surplus:
            lacking = f"the file lacks {len(missing)} ({', '.join(missing[:3])})" if missing else ""
            more = f"it has {len(surplus)} more ({', '.join(surplus[:3])})" if surplus else ""
            raise DataError(
                f"the classes of {what} and of the embeddings differ: {' and '.join(filter(None, (lacking, more)))}. "
                "Make embeddings of exactly these classes, under the names of the data set's folders."
            )
        order = [self.classes.index(name) for name in classes]
        return ClassEmbeddings(self.values[order], classes, self.tower, self.templates)

    def scores(self, vectors: Float[Tensor, "image channel"]) -> Float[Tensor, "image class"]:
        """Cosines between the images' vectors and every class."""
        return normalize(vectors.float(), dim=-1) @ self.values.T


def mean_of_templates(embeddings: Float[Tensor, "class template channel"]) -> Float[Tensor, "class channel"]:
    """For each class, the normalized mean of its templates' unit vectors."""
    return normalize(normalize(embeddings.float(), dim=-1).mean(1), dim=-1)


def read_class_embeddings(path: Path) -> ClassEmbeddings:
    """Read the class embeddings in a file.

    Raises:
        DataError: if the file cannot be read, lacks an array, or shapes disagree.
    """
    found = read_npz(path.expanduser(), ("embeddings", "classes", "tower"))
    lacking = [name for name in ("embeddings", "classes", "tower") if name not in found]
    if lacking:
        raise DataError(f"{path}: has no {', '.join(lacking)}. {MADE}.")
    values, names = found["embeddings"], [str(name) for name in found["classes"].reshape(-1)]
    good = (
        values.ndim in (2, 3) and np.issubdtype(values.dtype, np.floating) and values.shape[0] == len(names)
    )
    if not good or 0 in values.shape or len(set(names)) != len(names):
        raise DataError(
            f"{path}: embeddings {values.shape} ({values.dtype}) do not go with {len(set(names))} different classes of "
            f"{len(names)}. {MADE}."
        )
    vectors = torch.from_numpy(values.astype(np.float32))
    vectors = vectors[:, None] if vectors.ndim == 2 else vectors  # (class, template, channel)
    if not vectors.isfinite().all() or (vectors.norm(dim=-1) == 0).any():
        raise DataError(f"{path}: an embedding is zero or not finite; make the file again")
    means = mean_of_templates(vectors)
    if (means.norm(dim=-1) < 0.5).any():  # a unit vector otherwise
        raise DataError(f"{path}: the templates of a class cancel each other out; make the file again")
    return ClassEmbeddings(means, tuple(names), one_tower(path, found["tower"]), vectors.shape[1])


def one_tower(path: Path, tower: np.ndarray) -> str:
    """The name of the image encoder in a file of embeddings.

    Raises:
        DataError: if it is not one name.
    """
    if tower.size != 1:
        raise DataError(f"{path}: tower must be the name of one image encoder; got {tower.size} entries")
    return str(tower.item())


def write_class_embeddings(path: Path, values: Tensor, classes: tuple[str, ...], tower: str) -> None:
    """Write embeddings (class, template, channel) in the format of `read_class_embeddings`.

    Raises:
        WriteError: if the file cannot be written.
    """
    arrays = {"embeddings": values.numpy(), "classes": np.array(classes), "tower": np.array(tower)}
    write_npz(path, arrays)

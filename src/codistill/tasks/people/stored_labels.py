"""Write and read the cameras and people of a whole data set, as one safetensors file.

Making labels requires opening images (a focal length refers to the image's size) and posing bodies; this file is read
in a moment. Every part of `PeopleTruth` is stored with all people concatenated, except those of images that lack it.
The header holds image names, size of the squares and the identity of the labels' inputs.
"""

import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from codistill.errors import CheckpointError
from codistill.files.tensors import write_tensors
from codistill.heads.human_mesh.targets import PeopleTruth
from codistill.tasks.people.views import ViewLabels

LABELS = "labels.safetensors"
_PARTS = tuple(part.name for part in fields(PeopleTruth))
_COUNT, _CAMERA, _THERE = "count", "intrinsics", "there."


def write_labels(path: Path, labels: Sequence[ViewLabels], identity: str) -> None:
    """Write the labels of all images atomically.

    Args:
        path: path of the file.
        labels: labels of each image, all in squares of one size.
        identity: hash of the labels' inputs.

    Raises:
        CheckpointError: if it cannot be written.
    """
    truths = [vars(one.truth) for one in labels]
    tensors = {
        _COUNT: torch.tensor([len(one.truth) for one in labels]),
        _CAMERA: torch.stack([one.intrinsics for one in labels]),
    }
    for name in _PARTS:
        there = [truth[name] is not None for truth in truths]
        tensors[f"{_THERE}{name}"] = torch.tensor(there)
        if any(there):
            tensors[name] = torch.cat([truth[name] for truth in truths if truth[name] is not None])
    names = json.dumps([one.name for one in labels])
    header = {"size": str(labels[0].size), "names": names, "identity": identity}
    write_tensors(path, tensors, header)


def made_from(path: Path) -> str:
    """The identity of a file's inputs; "" if the file is missing or damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata()["identity"]
    except (OSError, SafetensorError, KeyError, TypeError):
        return ""


def read_labels(path: Path) -> tuple[ViewLabels, ...]:
    """Read the labels of all images.

    Raises:
        CheckpointError: if they cannot be read.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error}). Remove it: the labels are then made again"
        ) from error
    counts, size = tensors[_COUNT].tolist(), int(header["size"])
    parts = [_by_image(name, tensors, counts) for name in _PARTS]
    truths = [PeopleTruth(**dict(zip(_PARTS, values, strict=True))) for values in zip(*parts, strict=True)]
    each = zip(tensors[_CAMERA], truths, json.loads(header["names"]), strict=True)
    return tuple(ViewLabels(size, camera, truth, name) for camera, truth, name in each)


def _by_image(name: str, tensors: dict[str, torch.Tensor], counts: list[int]) -> list[torch.Tensor | None]:
    there = tensors[f"{_THERE}{name}"].tolist()
    sizes = [count for count, is_there in zip(counts, there, strict=True) if is_there]
    pieces = iter(tensors[name].split(sizes) if sizes else ())
    return [next(pieces) if is_there else None for is_there in there]

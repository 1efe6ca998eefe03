"""A labelled image of people from any source, and joining the labels of several images to one batch.

Labels are `PeopleTruth` in the camera frame (x right, y down, z forward), metres, on the host. Intrinsics are in pixels
of the image, with pixel centres at integers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from codistill.bodies.base import BodyModel
from codistill.errors import ConfigError
from codistill.heads.human_mesh.targets import PeopleTruth

FACTS = ("visible", "age")
"""Facts by which evaluations group people, in addition to distance: visible share of the silhouette; age, 0 to 1."""


@dataclass(frozen=True)
class PeopleImage:
    """An image with its people; there may be none.

    Attributes:
        image: (row, column, 3) uint8.
        intrinsics: (3, 3).
        truth: its people; `truth.image` is 0 for all.
        name: name for pictures and errors.
        facts: some of `FACTS`, (person,) each.
    """

    image: np.ndarray
    intrinsics: Float[Tensor, "3 3"]
    truth: PeopleTruth
    name: str
    facts: Mapping[str, Tensor] = field(default_factory=dict)


class PeopleImages(Protocol):
    """A map-style, picklable data set of `PeopleImage`; it may have `groups` (`shared/groups.py`).

    Data in files implements `inputs_of` (`shared/inputs.py`); labels from a list count as facts there.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> PeopleImage: ...


@dataclass(frozen=True)
class Skeleton:
    """Names and sides of a body model's joints, for labels; small enough to send to loader workers."""

    rotation_names: tuple[str, ...]
    joint_names: tuple[str, ...]
    head_idx: int
    pelvis_idx: int
    n_shape: int
    joint_counterparts: tuple[int, ...]

    @classmethod
    def of(cls, body: BodyModel) -> "Skeleton":
        return cls(
            body.rotation_names,
            body.joint_names,
            body.head_idx,
            body.pelvis_idx,
            body.n_shape,
            body.joint_counterparts,
        )


def make_truth(
    skeleton: Skeleton,
    joints: Float[Tensor, "person joint 3"],
    *,
    rotmat: Tensor | None = None,
    shape: Tensor | None = None,
    joint_known: Tensor | None = None,
) -> PeopleTruth:
    """The people of one image, from joints in the skeleton's order, and parameters if known."""
    return PeopleTruth(
        image=torch.zeros(len(joints), dtype=torch.int64),
        head=joints[:, skeleton.head_idx],
        pelvis=joints[:, skeleton.pelvis_idx],
        joints=joints,
        rotmat=rotmat,
        shape=shape,
        joint_known=joint_known,
    )


def nobody(skeleton: Skeleton, posed: bool = True) -> PeopleTruth:
    """Labels of an image without people."""
    return make_truth(
        skeleton,
        torch.zeros(0, len(skeleton.joint_names), 3),
        rotmat=torch.zeros(0, len(skeleton.rotation_names), 3, 3) if posed else None,
        shape=torch.zeros(0, skeleton.n_shape) if posed else None,
    )


def join_truths(truths: Sequence[PeopleTruth]) -> PeopleTruth:
    """Join the people of several images to one batch; people of the i-th image get `image` i.

    If only some people have rotations and shape, the others get identities, and `posed` marks who has them. Shorter
    shapes are padded with zeros. Vertices are left out.

    Raises:
        ConfigError: if rotations or joints are of several body models.
    """
    for name in ("joints", "rotmat"):
        sizes = {value.shape[1] for t in truths if (value := getattr(t, name)) is not None}
        if len(sizes) > 1:
            raise ConfigError(f"people of one batch must be of one body model; got {name} of {sorted(sizes)}")
    counts = torch.tensor([len(truth) for truth in truths])
    image = torch.repeat_interleave(torch.arange(len(truths)), counts)
    joined = PeopleTruth(
        image=image,
        head=torch.cat([truth.head for truth in truths]),
        pelvis=torch.cat([truth.pelvis for truth in truths]),
        joints=torch.cat([truth.joints for truth in truths]),
    )
    if any(truth.joint_known is not None for truth in truths):
        joined = replace(joined, joint_known=torch.cat([_known(truth) for truth in truths]))
    posed = [truth for truth in truths if truth.rotmat is not None and truth.shape is not None]
    if not posed:
        return joined
    assert posed[0].rotmat is not None
    rotations = posed[0].rotmat.shape[1]
    numbers = max(truth.shape.shape[1] for truth in posed if truth.shape is not None)
    joined = replace(
        joined,
        rotmat=torch.cat([_rotations(truth, rotations) for truth in truths]),
        shape=torch.cat([_shape(truth, numbers) for truth in truths]),
    )
    everyone = len(posed) == len(truths) and all(truth.posed is None for truth in truths)
    return joined if everyone else replace(joined, posed=torch.cat([_posed(truth) for truth in truths]))


def _known(truth: PeopleTruth) -> Tensor:
    if truth.joint_known is not None:
        return truth.joint_known
    return torch.ones(truth.joints.shape[:2], dtype=torch.bool)


def _rotations(truth: PeopleTruth, rotations: int) -> Tensor:
    if truth.rotmat is not None:
        return truth.rotmat
    return torch.eye(3).expand(len(truth), rotations, 3, 3)


def _shape(truth: PeopleTruth, numbers: int) -> Tensor:
    shape = torch.zeros(len(truth), 0) if truth.shape is None else truth.shape
    return torch.nn.functional.pad(shape, (0, numbers - shape.shape[1]))


def _posed(truth: PeopleTruth) -> Tensor:
    if truth.posed is not None:
        return truth.posed
    return torch.full((len(truth),), truth.rotmat is not None, dtype=torch.bool)

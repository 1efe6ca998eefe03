"""Compute the head's targets from labelled people: each person's cell, offset and depth, and a binary score map.

Run this on the host, in the loader: later shapes depend on the number of people that get a cell.

Source: Multi-HMR (arXiv 2402.14654), section 3.4.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from codistill.bodies.base import BodyModel
from codistill.errors import ConfigError
from codistill.geometry.projection import project
from codistill.heads.human_mesh.camera import encode_depth
from codistill.heads.human_mesh.cells import PersonCells
from codistill.heads.human_mesh.place import place_bodies

MIN_DEPTH = 0.01
"""Metres: people whose head or pelvis is nearer, or behind the camera, cannot be projected and are left out."""


@dataclass(frozen=True, kw_only=True)
class TargetConfig:
    """How people become targets.

    Attributes:
        depth_joint: joint whose depth supervises the depth output, which places the `head`; the published code uses the
            `pelvis`, which contradicts its own loss on the head's position.
        outside: people whose head is outside the image: `clamp` gives them the nearest cell at the border, with an
            offset beyond it (published); `drop` leaves them out.
    """

    depth_joint: Literal["head", "pelvis"] = "head"
    outside: Literal["clamp", "drop"] = "clamp"

    def __post_init__(self) -> None:
        for name, allowed in (("depth_joint", ("head", "pelvis")), ("outside", ("clamp", "drop"))):
            if getattr(self, name) not in allowed:
                raise ConfigError(f"{name} must be {' or '.join(allowed)}; got {getattr(self, name)!r}")


@dataclass(frozen=True)
class PeopleTruth:
    """Labelled people of a batch, in any order, (person, …) each, in the frames of their images' cameras, metres.

    Attributes:
        image: index of the image in the batch.
        head, pelvis: positions of these joints.
        joints: positions of all joints of the body model; any finite value where `joint_known` is False.
        vertices, rotmat, shape: vertices and parameters of the body model, or None if no person of the batch has them.
        posed: whether a person has vertices, rotations and shape; None: all have, if these are not None.
        joint_known: which joints are labelled; None: all.
    """

    image: Int[Tensor, " person"]
    head: Float[Tensor, "person 3"]
    pelvis: Float[Tensor, "person 3"]
    joints: Float[Tensor, "person joint 3"]
    vertices: Float[Tensor, "person vertex 3"] | None = None
    rotmat: Float[Tensor, "person rotation 3 3"] | None = None
    shape: Float[Tensor, "person shape"] | None = None
    posed: Bool[Tensor, " person"] | None = None
    joint_known: Bool[Tensor, "person joint"] | None = None

    def __len__(self) -> int:
        return self.image.shape[0]

    def at(self, index: Tensor) -> "PeopleTruth":
        """The chosen people, in the order of `index`."""
        return self._map(lambda tensor: tensor[index])

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "PeopleTruth":
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def _map(self, function: Callable[[Tensor], Tensor]) -> "PeopleTruth":
        tensors = {name: value for name, value in vars(self).items() if value is not None}
        return replace(self, **{name: function(tensor) for name, tensor in tensors.items()})


def with_vertices(truth: PeopleTruth, body: BodyModel) -> PeopleTruth:
    """Add vertices from rotations and shape, placed at the labelled pelvis.

    The loader can then send small labels, and the body model runs on the training device.

    Raises:
        ValueError: if the people have no rotations or no shape.
    """
    if truth.rotmat is None or truth.shape is None:
        raise ValueError("vertices need rotations and shape, and these people have none")
    placed = place_bodies(body, truth.rotmat, truth.shape, pelvis=truth.pelvis)
    return replace(truth, vertices=placed.vertices)


@dataclass(frozen=True)
class PeopleTargets:
    """The head's targets for the people that got a cell, ordered by image, then nearest first.

    Attributes:
        cells: cells of the people.
        score_map: (batch, row, column), 1.0 at people's cells, else 0.0.
        offset: (x, y) of the head from the cell's centre, in cells; beyond ±0.5 if the head is outside of the image.
        encoded_depth: see `camera.encode_depth`.
        truth: labels of these people.
        kept: (kept person,) indices into all labelled people.
    """

    cells: PersonCells
    score_map: Float[Tensor, "batch row column"]
    offset: Float[Tensor, "person 2"]
    encoded_depth: Float[Tensor, " person"]
    truth: PeopleTruth
    kept: Int[Tensor, " person"]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "PeopleTargets":
        score_map, offset, depth, kept = (
            tensor.to(device, non_blocking=non_blocking)
            for tensor in (self.score_map, self.offset, self.encoded_depth, self.kept)
        )
        cells, truth = self.cells.to(device, non_blocking), self.truth.to(device, non_blocking)
        return PeopleTargets(cells, score_map, offset, depth, truth, kept)


def assign_people(
    truth: PeopleTruth,
    intrinsics: Float[Tensor, "batch 3 3"],
    grid: tuple[int, int],
    patch_size: int,
    config: TargetConfig | None = None,
    *,
    nearness: Float[Tensor, " person"] | None = None,
) -> PeopleTargets:
    """Assign each person the cell that contains the person's head; of several in one cell only the nearest is kept.

    The others, and people too near or behind the camera, enter no loss.

    Args:
        truth: labelled people.
        intrinsics: (batch, 3, 3) in pixels of the encoder's input, pixel centres at integers.
        grid, patch_size: rows and columns of cells, and their side in pixels.
        config: None: the defaults.
        nearness: (person,) distance that decides who is nearest; None: depth of the pelvis. (The published code takes z
            of SMPL-X's translation, which is almost the same.)
    """
    config = config or TargetConfig()
    rows, columns = grid
    order = (truth.pelvis[:, 2] if nearness is None else nearness).argsort(stable=True)
    # The sort is stable, so that within an image the nearest stays first.
    order = order[truth.image[order].argsort(stable=True)]
    pixels = project(truth.head, intrinsics[truth.image])  # (person, 2)
    place = (pixels + 0.5) / patch_size  # in cells, (x, y); cell (i, j) covers [i, i + 1) x [j, j + 1)
    limit = torch.tensor([columns, rows], device=place.device)
    usable = before_camera(truth) & place.isfinite().all(-1)  # (person,)
    if config.outside == "drop":
        usable &= ((place >= 0) & (place < limit)).all(-1)
    order = order[usable[order]]
    cell = torch.minimum(place[order].floor().clamp(min=0), limit - 1.0)
    key = (truth.image[order] * rows + cell[:, 1].long()) * columns + cell[:, 0].long()  # unique per cell
    first = order_of_first(key)
    kept, cell = order[first], cell[first]  # (kept,), (kept, 2)
    chosen = truth.at(kept)
    column, row = cell.long().unbind(-1)
    score_map = torch.zeros(len(intrinsics), rows, columns, device=place.device)
    score_map[chosen.image, row, column] = 1.0
    depth = (chosen.head if config.depth_joint == "head" else chosen.pelvis)[:, 2]
    focal = intrinsics[chosen.image, 0, 0]  # (kept,)
    size = (rows * patch_size, columns * patch_size)
    return PeopleTargets(
        cells=PersonCells.of(chosen.image, row, column),
        score_map=score_map,
        offset=place[kept] - cell - 0.5,
        encoded_depth=encode_depth(depth, focal, size),
        truth=chosen,
        kept=kept,
    )


def before_camera(truth: PeopleTruth) -> Bool[Tensor, " person"]:
    """Whether head and pelvis are known and at least `MIN_DEPTH` in front of the camera, (person,)."""
    finite = truth.head.isfinite().all(-1) & truth.pelvis.isfinite().all(-1)
    return finite & (truth.head[:, 2] > MIN_DEPTH) & (truth.pelvis[:, 2] > MIN_DEPTH)


def order_of_first(key: Int[Tensor, " item"]) -> Int[Tensor, " kept"]:
    """Indices, in ascending order, of the first item with each value in `key`."""
    values, index = key.sort(stable=True)
    fresh = torch.ones_like(values, dtype=torch.bool)
    fresh[1:] = values[1:] != values[:-1]  # the sort is stable, so the first item of each value comes first
    return index[fresh].sort().values

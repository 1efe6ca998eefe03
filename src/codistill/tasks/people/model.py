"""Predict bodies from images and cameras with a human-mesh head; results are in pixels of the original image."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from codistill.bodies.base import BodyModel
from codistill.errors import ConfigError, check_least
from codistill.geometry.projection import project
from codistill.heads.human_mesh.cells import DETECTION_THRESHOLD
from codistill.heads.human_mesh.losses import in_front
from codistill.heads.human_mesh.network import HumanMeshHead
from codistill.heads.human_mesh.place import place_people
from codistill.heads.human_mesh.prediction import PeoplePrediction
from codistill.imaging.normalize import normalized
from codistill.nn.precision import autocast
from codistill.tasks.people.baseline import MeanBody
from codistill.tasks.people.views import Placement, square_pixels
from codistill.tasks.shared.features import FrozenFeatures
from codistill.types import Tokens


@dataclass(frozen=True)
class Bodies:
    """The people of one image, nearest first, on the host; camera coordinates, metres.

    Attributes:
        score: score of the detection, (person,).
        vertices, joints: (person, …, 3).
        joints_2d: (person, joint, 2) pixels (x, y) of the image; joints behind the camera are projected from a point
            just in front of it.
        rotmat, shape, expression: parameters of the body model.
        head, pelvis: (person, 3) joints.
    """

    score: Float[Tensor, " person"]
    vertices: Float[Tensor, "person vertex 3"]
    joints: Float[Tensor, "person joint 3"]
    joints_2d: Float[Tensor, "person joint 2"]
    rotmat: Float[Tensor, "person rotation 3 3"]
    shape: Float[Tensor, "person shape"]
    expression: Float[Tensor, "person expression"]
    head: Float[Tensor, "person 3"]
    pelvis: Float[Tensor, "person 3"]

    def __len__(self) -> int:
        return len(self.score)

    def within(self, rows: int, columns: int, intrinsics: Float[Tensor, "3 3"]) -> "Bodies":
        """Keep the people with a vertex inside an image of that many pixels.

        Heads are detected in the padded square, so a person may lie completely outside of the image.
        """
        x, y = project(in_front(self.vertices), intrinsics.expand(len(self), 3, 3)).unbind(-1)
        inside = (
            (self.vertices[..., 2] > 0) & (x > -0.5) & (x < columns - 0.5) & (y > -0.5) & (y < rows - 0.5)
        )
        kept = inside.any(1)
        return Bodies(**{f.name: getattr(self, f.name)[kept] for f in fields(self)})


@dataclass(frozen=True, kw_only=True)
class PeopleSearch:
    """How people are detected.

    Attributes:
        threshold: smallest score of a detection.
        kernel: side of the neighbourhood in cells in which a detection must be the maximum; 1: no suppression.
        size: side of the encoder's square input, pixels; None: the size at which the head was fitted.
    """

    threshold: float = DETECTION_THRESHOLD
    kernel: int = 3
    size: int | None = None

    def __post_init__(self) -> None:
        if not 0.0 < self.threshold <= 1.0:
            raise ConfigError(f"the threshold must lie between 0 and 1; got {self.threshold}")
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ConfigError(f"the kernel must be an odd number of cells, 1 for none; got {self.kernel}")
        check_least(self, "size")


@dataclass
class PeopleEstimator:
    """An encoder with a human-mesh head and its body model.

    Attributes:
        features, head: on one device, in evaluation mode.
        body_name: name of the body model.
        make_body: makes the body model at its first use: the first Anny on a machine takes minutes.
        size: side of the encoder's square input, pixels.
        search: see `PeopleSearch`.
        mean, mean_of: body of a baseline that replaces every predicted one, or None; whose mean it is.
    """

    features: FrozenFeatures
    head: HumanMeshHead
    body_name: str
    make_body: Callable[[], BodyModel]
    size: int
    search: PeopleSearch
    mean: MeanBody | None = None
    mean_of: str = ""

    @cached_property
    def body(self) -> BodyModel:
        """The body model, on the head's device."""
        with torch.inference_mode(False):  # it may be used in training as well
            return self.make_body().eval().to(self.device)

    def to(self, device: torch.device | str) -> "PeopleEstimator":
        for part in (self.features, self.head, *((self.body,) if "body" in vars(self) else ())):
            part.to(device)
        return self

    @property
    def device(self) -> torch.device:
        return next(self.head.parameters()).device

    def describe(self) -> dict[str, Any]:
        facts = {"encoder": self.features.describe(), "body": self.body_name, "size": self.size}
        return facts | ({"mean_body_of": self.mean_of} if self.mean_of else {})

    @torch.inference_mode()
    def __call__(self, image: UInt8[np.ndarray, "row column 3"], intrinsics: Float[Tensor, "3 3"]) -> Bodies:
        """Predict the people of an image of any size; there may be none.

        Args:
            image: the image at its original size.
            intrinsics: intrinsics of the image, pixels.
        """
        placement = Placement.of(image.shape[0], image.shape[1], self.size)
        seen = normalized(torch.from_numpy(square_pixels(image, placement))[None].to(self.device))
        camera = placement.intrinsics(intrinsics.float())[None]
        with autocast(self.device):
            levels = self.features.finite(seen)
        return self.bodies_of(levels, camera, intrinsics)

    @torch.inference_mode()
    def bodies_of(
        self, levels: Sequence[Tokens], camera: Float[Tensor, "1 3 3"], intrinsics: Float[Tensor, "3 3"]
    ) -> Bodies:
        """Predict the people of one image from its tokens.

        Args:
            levels: tokens of a batch of one, of any grid.
            camera: intrinsics of the image that the head sees, with `head.config.patch_size` pixels per token.
            intrinsics: intrinsics of the original image, pixels.
        """
        tokens = self.features.for_head(levels[-1], normed=not self.head.config.fresh_norm)
        search = self.search
        with autocast(self.device):
            output = self.head(
                tokens, camera.to(self.device), threshold=search.threshold, kernel=search.kernel
            )
        people = output.people
        if self.mean is not None:
            people = self.mean.in_place_of(people)
        return _bodies(self.body, people, intrinsics.float())


def _bodies(body: BodyModel, people: PeoplePrediction, intrinsics: Tensor) -> Bodies:
    placed = place_people(body, people)
    order = placed.head[:, 2].argsort(stable=True)
    values = (
        people.score,
        placed.vertices,
        placed.joints,
        people.rotmat,
        people.shape,
        people.expression,
        placed.head,
        placed.pelvis,
    )
    score, vertices, joints, rotmat, shape, expression, head, pelvis = (v[order].cpu() for v in values)
    joints_2d = project(in_front(joints), intrinsics.expand(len(joints), 3, 3))
    return Bodies(score, vertices, joints, joints_2d, rotmat, shape, expression, head, pelvis)

"""Objective of the human-mesh head: encode, run the head at the true cells, pose bodies, and compute one loss.

The encoder is frozen, or trains with the head as in the published training.
"""

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from codistill.bodies.base import BodyModel
from codistill.engine.objective import StepContext, StepResult
from codistill.heads.human_mesh.losses import HumanMeshLossConfig, human_mesh_loss
from codistill.heads.human_mesh.model import HumanMeshModel
from codistill.heads.human_mesh.network import HumanMeshHead
from codistill.heads.human_mesh.place import place_people
from codistill.heads.human_mesh.targets import PeopleTargets, with_vertices
from codistill.tasks.people.loading import PeopleBatch
from codistill.tasks.people.tokens import head_tokens
from codistill.tasks.shared.features import FrozenFeatures
from codistill.types import Tokens


class PeopleObjective:
    """Trains a human-mesh head on frozen features, or together with its encoder.

    Args:
        features: the encoder; if frozen, it is neither trained, wrapped nor saved.
        trainable: the head, made for the features' width and the body model; or the head with the encoder, unfrozen.
        body: the body model; frozen.
        loss: weights of the loss.
        size: side of the square images, pixels.
        description: for the run's describe.json.
    """

    def __init__(
        self,
        features: FrozenFeatures,
        trainable: HumanMeshHead | HumanMeshModel,
        body: BodyModel,
        loss: HumanMeshLossConfig,
        size: int,
        description: dict[str, Any],
    ) -> None:
        self.features, self.body = features, body.requires_grad_(False).eval()
        self.trainable: nn.Module = trainable
        self.unfrozen = isinstance(trainable, HumanMeshModel)
        self.loss, self.size, self.description = loss, size, description

    def to_device(self, device: Any) -> None:
        self.features.to(device)
        self.body.to(device)

    def step(self, model: nn.Module, batch: PeopleBatch, context: StepContext) -> StepResult:
        device = batch.images.device
        with context.phase("encoder"):
            seen = batch.images if self.unfrozen else self._tokens(batch)
        intrinsics = batch.intrinsics.to(device, non_blocking=True)
        targets = self._with_vertices(batch.targets.to(device, non_blocking=True))
        with context.phase("model" if self.unfrozen else "head"):
            output = model(seen, intrinsics, targets.cells)
        with context.phase("body"):
            bodies = place_people(self.body, output.people)
        result = human_mesh_loss(
            output, bodies, targets, intrinsics, (self.size, self.size), self.loss, step=context.step
        )
        return StepResult(result.loss, result.terms)

    def _tokens(self, batch: PeopleBatch) -> Tokens:
        if batch.patches is None:
            return head_tokens(self.features, batch.images)
        side = self.size // self.features.patch_size
        patches = batch.patches.to(batch.images.device, non_blocking=True)
        return Tokens(patches=patches, grid=(side, side), normed=False)

    @torch.no_grad()
    def _with_vertices(self, targets: PeopleTargets) -> PeopleTargets:
        """Add true vertices to the targets of people with parameters; shapes are clamped to the body model's limits."""
        truth, limit = targets.truth, self.body.shape_limit
        if truth.rotmat is None or truth.shape is None:
            return targets
        truth = replace(truth, shape=truth.shape.clamp(-limit, limit))
        return replace(targets, truth=with_vertices(truth, self.body))

    @torch.no_grad()
    def evaluate(
        self, model: nn.Module, batches: Iterable[PeopleBatch], context: StepContext
    ) -> dict[str, float]:
        results = [self.step(model, batch, context) for batch in batches]
        if not results:
            return {}
        terms = {name: torch.stack([r.metrics[name] for r in results]) for name in results[0].metrics}
        means = {name: float(values.nanmean()) for name, values in terms.items()}
        known = {
            name: value for name, value in means.items() if math.isfinite(value)
        }  # the loss on projections starts late, and is not finite before
        return {"loss": float(torch.stack([r.loss for r in results]).mean())} | known

    def describe(self) -> dict[str, Any]:
        return self.description

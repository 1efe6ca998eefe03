"""The published protocol as an engine objective: every step encodes fresh views and trains one head on them."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from codistill.engine.objective import StepContext, StepResult
from codistill.tasks.shared.features import FrozenFeatures
from codistill.tasks.shared.loading import DenseBatch
from codistill.types import Tokens

HeadInput = Callable[[Sequence[Tokens]], Tensor]
"""Turns levels of tokens into a head's input map."""

HeadLoss = Callable[[Tensor, Tensor, int], Tensor]
"""Given a head's output, the target on its device and the step, returns a scalar."""


def feature_maps(levels: Sequence[Tokens]) -> Tensor:
    """Feature maps of all levels, concatenated along the channels: (batch, channel, row, column)."""
    return torch.cat([tokens.feature_map() for tokens in levels], dim=1)


class HeadObjective:
    """Trains a head on frozen features.

    Args:
        features: the encoder; it is kept out of the trained module, so that it is neither wrapped nor saved.
        head: maps its input map to an output map.
        head_input, head_loss: see the types `HeadInput` and `HeadLoss`.
        description: for the run's describe.json.
    """

    def __init__(
        self,
        features: FrozenFeatures,
        head: nn.Module,
        head_input: HeadInput,
        head_loss: HeadLoss,
        description: dict[str, Any],
    ) -> None:
        self.features, self.trainable = features, head
        self.head_input, self.head_loss = head_input, head_loss
        self.description = description

    def to_device(self, device: Any) -> None:
        self.features.to(device)

    def step(self, model: nn.Module, batch: DenseBatch, context: StepContext) -> StepResult:
        with context.phase("encoder"):
            features = self.head_input(self.features(batch.images))
        with context.phase("head"):
            target = batch.target.to(batch.images.device, non_blocking=True)
            loss = self.head_loss(model(features), target, context.step)
        return StepResult(loss)

    def evaluate(
        self, model: nn.Module, batches: Iterable[DenseBatch], context: StepContext
    ) -> dict[str, float]:
        losses = [self.step(model, batch, context).loss for batch in batches]
        return {"loss": float(torch.stack(losses).mean())} if losses else {}

    def describe(self) -> dict[str, Any]:
        return self.description

"""Objective of the two-view head: from a batch of pairs to the loss of both orders of each pair; encoder frozen or not.

Symmetrized pairs, (a, b) and (b, a), share their tokens: every image is encoded once. Cached tokens skip the encoder.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from codistill.encoders.base import Encoder
from codistill.engine.objective import StepContext, StepResult
from codistill.heads.two_view.losses import TwoViewLossConfig, ViewTruth, two_view_loss
from codistill.heads.two_view.model import TwoViewModel
from codistill.heads.two_view.network import TwoViewHead, ViewPrediction, both_orders
from codistill.tasks.two_view.batches import PairBatch, joined, truth_to
from codistill.types import Tokens


class TwoViewObjective:
    """Trains a two-view head on a frozen encoder, or together with it.

    Args:
        encoder: the encoder; if frozen, it is neither trained, wrapped nor saved.
        head: the head to train.
        loss: weights and modes of the loss.
        symmetrize: train on (b, a) as well as (a, b).
        unfreeze: train the encoder as well; needs batches with images.
        description: for the run's describe.json.
    """

    def __init__(
        self,
        encoder: Encoder,
        head: TwoViewHead,
        loss: TwoViewLossConfig,
        *,
        symmetrize: bool,
        description: dict[str, Any],
        unfreeze: bool = False,
    ) -> None:
        self.encoder, self.unfreeze = encoder.requires_grad_(unfreeze).eval(), unfreeze
        self.trainable = TwoViewModel(encoder, head, freeze_encoder=False) if unfreeze else head
        self.norm = not head.config.fresh_norm
        self.loss, self.symmetrize, self.description = loss, symmetrize, description

    def to_device(self, device: Any) -> None:
        self.encoder.to(device)

    def step(self, model: nn.Module, batch: PairBatch, context: StepContext) -> StepResult:
        device = next(model.parameters()).device
        truth1, truth2 = truth_to(batch.truth1, device), truth_to(batch.truth2, device)
        if self.symmetrize:
            truth1, truth2 = joined(truth1, truth2), joined(truth2, truth1)
        # The loss reads only descriptors of correspondences, so others are not computed.
        pixels = (truth1.matches, truth2.matches) if self.loss.matching_weight else None
        prediction1, prediction2 = self._predictions(model, batch, pixels, context, device)
        with context.phase("loss"):
            result = two_view_loss(
                prediction1,
                prediction2,
                truth1,
                truth2,
                self.loss,
                generator=self._generator(truth1, context, device),
            )
        return StepResult(result.loss, {"loss": result.loss.detach(), **result.details})

    def evaluate(
        self, model: nn.Module, batches: Iterable[PairBatch], context: StepContext
    ) -> dict[str, float]:
        found: list[dict[str, Tensor]] = []
        with torch.no_grad():
            found = [self.step(model, batch, context).metrics for batch in batches]
        if not found:
            return {}
        return {name: float(torch.stack([one[name] for one in found]).mean()) for name in found[0]}

    def describe(self) -> dict[str, Any]:
        return self.description

    def _predictions(
        self,
        model: nn.Module,
        batch: PairBatch,
        pixels: tuple[Tensor, Tensor] | None,
        context: StepContext,
        device: torch.device,
    ) -> tuple[ViewPrediction, ViewPrediction]:
        """Predictions of both views; if symmetrized, of pairs in both orders."""
        if self.unfreeze:
            assert batch.tokens is None
            with context.phase("model"):
                return model(*batch.images.chunk(2), symmetrize=self.symmetrize, pixels=pixels)
        with context.phase("encoder"):
            first, second = self._tokens(batch, device)
        if self.symmetrize:
            first, second = both_orders(first, second)
        with context.phase("head"):
            return model(first, second, pixels)

    @torch.no_grad()
    def _tokens(self, batch: PairBatch, device: torch.device) -> tuple[Tokens, Tokens]:
        """Tokens of the first and of the second views, normed only if the head has no norm of its own."""
        if batch.tokens is None:
            tokens = self.encoder(batch.images, norm=self.norm)
            patches, grid = tokens.patches, tokens.grid
        else:
            patches, grid = batch.tokens.to(device, non_blocking=True).float(), batch.grid
        first, second = patches.chunk(2)
        return Tokens(first, grid, normed=self.norm), Tokens(second, grid, normed=self.norm)

    def _generator(
        self, truth: ViewTruth, context: StepContext, device: torch.device
    ) -> torch.Generator | None:
        """Random generator, seeded by the step, that shuffles correspondences; None if all are compared at once."""
        if truth.matches.shape[1] <= self.loss.block_size:
            return None
        seed = context.seed * 1_000_003 + context.step * 1009 + context.rank * 31 + context.micro_step
        return torch.Generator(device).manual_seed(seed % 2**63)

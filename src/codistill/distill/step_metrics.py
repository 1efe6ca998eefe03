"""Metrics of a distillation step: losses per teacher, token kind and term, and each teacher's share of the total."""

from collections.abc import Mapping

import torch
from torch import Tensor

from codistill.distill.losses import TokenLoss, image_loss
from codistill.distill.sharing import SharingPlan
from codistill.types import TokenKind


def step_metrics(
    loss: Tensor,
    losses: Mapping[str, Mapping[TokenKind, TokenLoss]],
    coefficients: Tensor,
    plan: SharingPlan,
) -> dict[str, Tensor]:
    """Return scalars on the device; the losses of a teacher without images are NaN.

    Args:
        loss: of the step.
        losses: by teacher and token kind.
        coefficients: (teacher, image), after dropping.
        plan: tells which teachers have rows that count.
    """
    metrics = {"loss": loss.detach()}
    share = coefficients.sum(1) / coefficients.sum()  # (teacher,)
    for index, (teacher, by_kind) in enumerate(losses.items()):
        counts = plan.counts[teacher] > 0
        values = {f"loss/{teacher}": image_loss(by_kind)}
        for kind, of_kind in by_kind.items():
            values[f"loss/{teacher}/{kind}"] = of_kind.total
            values |= {f"loss/{teacher}/{kind}/{term}": value for term, value in of_kind.terms.items()}
        for name, value in values.items():
            metrics[name] = value.detach().mean() if counts else value.detach().new_full((), torch.nan)
        metrics[f"coefficient/{teacher}"] = share[index]
    return metrics

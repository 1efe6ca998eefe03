"""Fit a linear head for surface normals on frozen features, by the published protocol or on cached features.

Source: Probe3D (arXiv 2404.08636): AdamW 5e-4, decay 0.01, 8 images per step, ten epochs of which 1.5 are warm-up, the
loss of `normals_loss`. Departures: Probe3D's probe is a DPT, ours is linear. It trains on the 30 thousand frames of
GeoNet, ours on the 795 labelled images for as many steps. Its schedule is a quarter of a cosine that ends at 1 %, ours
is half a cosine that ends at 0. It resizes scores bicubically. The loss rewards confidence: where features are
uninformative, the head predicts the most common normal.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from codistill.heads.linear.batched import NormalsHeads
from codistill.heads.linear.losses import masked_mean
from codistill.heads.linear.normals import NormalsHead, NormalsHeadConfig, normals_loss, normals_of_scores
from codistill.heads.linear.released import released_tensors
from codistill.metrics.normals import angles, known_normals
from codistill.tasks.dense.cached_task import CachedTask, Sampled, views_tally
from codistill.tasks.dense.config import HEAD_OPTIM, DenseFit
from codistill.tasks.dense.fit import DenseHead
from codistill.tasks.dense.normals.data import NormalsViews
from codistill.tasks.dense.objective import feature_maps

OPTIM = replace(HEAD_OPTIM, lr=5e-4, warmup_fraction=0.15, weight_decay=0.01)


@dataclass(frozen=True, kw_only=True)
class NormalsFit(DenseFit):
    """How a head for normals is fitted; see `DenseFit`."""

    learning_rates: tuple[float, ...] = (1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2)
    weight_decay: float = OPTIM.weight_decay


RECIPES = {
    "cached": NormalsFit(),
    "published": NormalsFit(protocol="published", learning_rates=(OPTIM.lr,), batch_size=8),
}


@dataclass(frozen=True)
class CachedNormals(CachedTask):
    """The cached protocol for normals; see `CachedTask`."""

    kind = "normals"
    higher_is_better = False
    score_name = "degrees"
    optim = OPTIM

    def build(self, channels: int, count: int) -> NormalsHeads:
        return NormalsHeads(NormalsHeadConfig(channels=channels), count)

    def losses(self, heads: NormalsHeads, sampled: Sampled, step: int) -> Tensor:
        """Losses (head,): `normals_loss` over the sampled pixels."""
        return normals_loss(*sampled.scored(heads), dim=(1, 2))

    def tally(self, heads: NormalsHeads, sampled: Sampled) -> np.ndarray:
        """Per head, sum of the views' mean angular errors in degrees, and number of views; see `views_tally`."""
        scores, truth = sampled.scored(heads)
        known = known_normals(truth)  # (head, view, pixel)
        errors = masked_mean(angles(normals_of_scores(scores)[0], truth), known, dim=(2,))
        return views_tally(torch.rad2deg(errors), known[0].any(1))


def _loss(scores: Tensor, truth: Tensor, step: int) -> Tensor:
    scores = interpolate(scores, size=truth.shape[1:3], mode="bilinear", align_corners=False)
    return normals_loss(scores.movedim(1, -1), truth)


HEAD = DenseHead(
    task="normals",
    optim=OPTIM,
    shape=lambda features, data, config: NormalsHeadConfig(channels=features.width()),
    build=NormalsHead,
    cached=lambda shape, levels, steps, config: CachedNormals(),
    input=feature_maps,
    loss=lambda config, steps: _loss,
    views=NormalsViews,
    tensors=released_tensors,
)

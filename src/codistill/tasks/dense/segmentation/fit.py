"""Fit a linear segmentation head on frozen features, by the published protocol or on cached features.

Takes a config, writes a head folder. Source: DINOv2's linear segmentation on ADE20K (batch 16, 40 000 steps, AdamW
1e-3, decay 1e-4, 1500 steps of warm-up, linear to 0). Other data sets use the same with their own crops.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from codistill.engine.distributed import Process
from codistill.engine.optim import OptimConfig
from codistill.heads.linear.batched import SegmentationHeads
from codistill.heads.linear.losses import pixel_cross_entropy
from codistill.heads.linear.released import released_tensors
from codistill.heads.linear.segmentation import SegmentationHead, SegmentationHeadConfig
from codistill.metrics.segmentation import IGNORE, class_counts, mean_iou
from codistill.tasks.dense.cached_task import CachedTask, Sampled
from codistill.tasks.dense.config import HEAD_OPTIM, DenseFit
from codistill.tasks.dense.fit import DenseHead, fit_dense
from codistill.tasks.dense.objective import feature_maps
from codistill.tasks.dense.segmentation.data import SegmentationData, classes_seen
from codistill.tasks.dense.segmentation.views import SegmentationViews
from codistill.tasks.dense.targets import TargetKind
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.features import FrozenFeatures

CACHED_RATES = (2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2)
WARMUP_FRACTION = 1500 / 40_000
OPTIM = replace(
    HEAD_OPTIM,
    lr=1e-3,
    warmup_fraction=WARMUP_FRACTION,
    weight_decay=1e-4,
    schedule="ramped_linear",
    ramp_start=1e-6,
)


@dataclass(frozen=True, kw_only=True)
class SegmentationFit(DenseFit):
    """How a segmentation head is fitted; see `DenseFit`.

    Attributes:
        ignored_count: divide the loss by the number of all pixels, including ignored ones (as the protocol does).
    """

    learning_rates: tuple[float, ...] = CACHED_RATES
    ignored_count: bool = True


@dataclass(frozen=True)
class CachedSegmentation(CachedTask):
    """The cached protocol for segmentation; see `CachedTask`."""

    kind: ClassVar[TargetKind] = "classes"
    score_name: ClassVar[str] = "miou"
    optim: ClassVar[OptimConfig] = OPTIM

    num_classes: int
    ignored_count: bool = True

    def build(self, channels: int, count: int) -> SegmentationHeads:
        return SegmentationHeads(
            SegmentationHeadConfig(channels=channels, num_classes=self.num_classes), count
        )

    def losses(self, heads: SegmentationHeads, sampled: Sampled, step: int) -> Tensor:
        """Cross entropies (head,) at the sampled pixels; batch statistics are computed on the whole maps."""
        scores = heads(sampled.features(), *heads.statistics(sampled.tokens))
        truth = sampled.truth.flatten().long()
        losses = cross_entropy(
            scores.flatten(0, 1), truth.repeat(heads.heads), ignore_index=IGNORE, reduction="none"
        ).view(heads.heads, -1)
        if self.ignored_count:
            return losses.mean(1)
        return losses.sum(1) / (truth != IGNORE).sum().clamp(min=1)

    def tally(self, heads: SegmentationHeads, sampled: Sampled) -> np.ndarray:
        """Counts (head, 3, class)."""
        predictions = heads(sampled.features()).argmax(-1)
        truth = sampled.truth.flatten()
        return torch.stack([class_counts(p, truth, self.num_classes) for p in predictions]).cpu().numpy()

    def score(self, total: np.ndarray) -> np.ndarray:
        """mIoU in per cent (head,), from counts (head, 3, class)."""
        return mean_iou(total)


RECIPES = {
    "cached": SegmentationFit(),
    "published": SegmentationFit(protocol="published", learning_rates=(OPTIM.lr,)),
}


def _shape(
    features: FrozenFeatures, data: SegmentationData, config: SegmentationFit
) -> SegmentationHeadConfig:
    return SegmentationHeadConfig(channels=features.width(), num_classes=len(data.classes))


def _loss(config: SegmentationFit, steps: int):
    return lambda logits, labels, _: pixel_cross_entropy(logits, labels, ignored_count=config.ignored_count)


HEAD = DenseHead(
    task="segmentation",
    optim=OPTIM,
    shape=_shape,
    build=SegmentationHead,
    cached=lambda shape, levels, steps, config: CachedSegmentation(shape.num_classes, config.ignored_count),
    input=feature_maps,
    loss=_loss,
    views=SegmentationViews,
    tensors=released_tensors,
)


def fit_segmentation(
    data: SegmentationData, config: SegmentationFit, runtime: Runtime, process: Process
) -> bool:
    """Fit a head on a training split; see `fit_dense`."""
    seen = classes_seen(data)
    if seen.absent:
        runtime.say(f"{seen.about('training')}; no head can learn them")
    told = {"absent_classes": list(seen.absent)}
    return fit_dense(HEAD, data, config, runtime, process, classes=data.classes, told=told)

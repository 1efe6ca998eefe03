"""Fit a linear segmentation head on frozen features: by the published protocol, or on cached features.

A config in, a head folder out. Source: DINOv2's linear segmentation on ADE20K (batch 16, 40 000 steps, AdamW 1e-3,
decay 1e-4, 1500 steps of warm-up, linear to 0); for other data sets the same with their own crops.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
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
from codistill.heads.linear.sampling import corners_of, features_at
from codistill.heads.linear.segmentation import SegmentationHead, SegmentationHeadConfig
from codistill.metrics.segmentation import IGNORE, class_counts, mean_iou
from codistill.nn.seeded import seeded
from codistill.tasks.dense.cache import TargetKind
from codistill.tasks.dense.cached_fit import default_steps, fit_cached, refuse_several
from codistill.tasks.dense.cached_task import CachedTask, Sampled
from codistill.tasks.dense.published_fit import fit_published
from codistill.tasks.dense.segmentation.data import SegmentationData, classes_seen, open_segmentation
from codistill.tasks.dense.segmentation.views import SegmentationViews
from codistill.tasks.shared.config import HeadFit, Runtime
from codistill.tasks.shared.data import check_data, limited
from codistill.tasks.shared.features import FrozenFeatures
from codistill.tasks.shared.head_files import HeadRecord, write_head
from codistill.tasks.shared.same_encoder import told_of
from codistill.types import Tokens

CACHED_RATES = (2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2)
WARMUP_FRACTION = 1500 / 40_000
OPTIM = OptimConfig(
    lr=1e-3,
    reference_batch=None,
    min_lr=0.0,
    warmup_fraction=WARMUP_FRACTION,
    betas=(0.9, 0.999),
    eps=1e-8,
    weight_decay=1e-4,
    clip="none",
    schedule="ramped_linear",
    ramp_start=1e-6,
    decay="all",
)


@dataclass(frozen=True, kw_only=True)
class SegmentationFit(HeadFit):
    """How a segmentation head is fitted; see `HeadFit`.

    Attributes:
        ignored_count: divide the loss by all pixels, ignored ones included (the protocol).
    """

    learning_rates: tuple[float, ...] = CACHED_RATES
    ignored_count: bool = True


def head_input(levels: Sequence[Tokens]) -> Tensor:
    """Feature maps of all levels, one after the other: (batch, channel, row, column)."""
    return torch.cat([tokens.feature_map() for tokens in levels], dim=1)


@dataclass(frozen=True)
class CachedSegmentation(CachedTask):
    """The cached protocol's side of segmentation; see `CachedTask`."""

    kind: ClassVar[TargetKind] = "classes"
    score_name: ClassVar[str] = "miou"

    num_classes: int
    ignored_count: bool = True

    def build(self, channels: int, count: int) -> SegmentationHeads:
        """Fresh heads."""
        return SegmentationHeads(
            SegmentationHeadConfig(channels=channels, num_classes=self.num_classes), count
        )

    def losses(self, heads: SegmentationHeads, sampled: Sampled, step: int) -> Tensor:
        """Cross entropy at the sampled pixels, per head; batch statistics are those of the whole maps."""
        scores = heads(_features(sampled), *heads.statistics(sampled.tokens))
        truth = sampled.truth.flatten().long()
        losses = cross_entropy(
            scores.flatten(0, 1), truth.repeat(heads.heads), ignore_index=IGNORE, reduction="none"
        ).view(heads.heads, -1)
        if self.ignored_count:
            return losses.mean(1)
        return losses.sum(1) / (truth != IGNORE).sum().clamp(min=1)

    def tally(self, heads: SegmentationHeads, sampled: Sampled) -> np.ndarray:
        """(head, 3, class) counts."""
        predictions = heads(_features(sampled)).argmax(-1)
        truth = sampled.truth.flatten()
        return torch.stack([class_counts(p, truth, self.num_classes) for p in predictions]).cpu().numpy()

    def score(self, total: np.ndarray) -> np.ndarray:
        """mIoU of each head."""
        return mean_iou(total)

    def factors(self, steps: int) -> list[float]:
        """The published schedule."""
        return [rate / OPTIM.lr for rate in OPTIM.learning_rates(steps, 1)]


def _features(sampled: Sampled) -> Tensor:
    corners = corners_of(sampled.rows, sampled.columns, sampled.grid, sampled.target_size)
    return features_at(sampled.tokens, corners).flatten(0, 1)


def prepare(config: SegmentationFit) -> SegmentationData:
    """The training data, checked.

    Raises:
        DataError: if it cannot be used.
    """
    data = open_segmentation(config.data, "train", partial=config.partial)
    check_data(data.samples, f"{config.data} (train)")
    protocol = data.protocol if config.size is None else data.protocol.at_size(config.size)
    return SegmentationData(
        data.spec, data.split, limited(data.samples, config.limit), data.classes, protocol
    )


def fit_segmentation(config: SegmentationFit, runtime: Runtime, process: Process | None = None) -> bool:
    """Fit a head and write it to `runtime.out`; the same call goes on after an interruption.

    Returns:
        Whether it is finished (a published fit may be stopped before its end).

    Raises:
        ConfigError, DataError, CheckpointError: the text says what to do.
    """
    process = process or Process(device=runtime.device)
    data = prepare(config)
    seen = classes_seen(data)
    if seen.absent:
        runtime.say(f"{seen.about('training')}; no head can learn them")
    features = FrozenFeatures(config.features)
    steps = config.steps or default_steps(config, len(data.samples), data.protocol.steps)
    maker = SegmentationViews(data.protocol)
    shape = SegmentationHeadConfig(
        channels=features.channels * len(config.features.blocks), num_classes=len(data.classes)
    )
    runtime.say(
        f"{config.protocol} fit on {len(data.samples)} images of {config.data}, {len(data.classes)} classes, "
        f"{steps} steps of {config.batch_size} views; licence of {features.encoder.spec.name}: "
        f"{features.encoder.spec.licence}"
    )
    if config.protocol == "cached":
        refuse_several(process)
        task = CachedSegmentation(len(data.classes), config.ignored_count)
        result = fit_cached(task, config, steps, data.samples, features, maker, runtime)
        head, facts = result.heads.pick(result.chosen), result.facts
    else:
        head = _fresh_head(shape, config.seed)
        facts = fit_published(
            head,
            head_input,
            lambda logits, labels, _: pixel_cross_entropy(logits, labels, ignored_count=config.ignored_count),
            OPTIM,
            config,
            steps,
            data.samples,
            features,
            maker,
            runtime,
            process,
        )
        if facts is None:
            return False
    record = HeadRecord(
        task="segmentation",
        features=config.features,
        data={
            "spec": config.data,
            "images": len(data.samples),
            "classes": list(data.classes),
            "absent": list(seen.absent),
        },
        test={**asdict(data.protocol), "steps": steps},
        head=asdict(shape),
        encoder=told_of(features),
        fit={"protocol": config.protocol, "steps": steps, "batch_size": config.batch_size, **facts},
    )
    if process.is_main:
        write_head(runtime.out, record, released_tensors(head.cpu()), list(runtime.command))
    return True


def _fresh_head(shape: SegmentationHeadConfig, seed: int) -> SegmentationHead:
    with seeded(seed):
        return SegmentationHead(shape)

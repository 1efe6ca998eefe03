"""Fit the published linear classifier: train many heads side by side on random crops and keep the best one.

Takes an image folder and a frozen encoder; gives the weights of the best head, its input and its learning rate. The
heads differ in learning rate and input: class tokens of the last block or the last four, with and without the last
block's mean patch token. Source: DINOv2's linear evaluation (arXiv 2304.07193): SGD, momentum 0.9, no decay, cosine, 10
x 1250 steps of 128 images. DINOv2 reports the best head on the test images; here the head is chosen on held-out
training images.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from codistill.data.augment import AugmentConfig
from codistill.data.augment.draw import draw_params
from codistill.engine.schedule import cosine
from codistill.imaging import resize_rgb
from codistill.nn.precision import autocast
from codistill.nn.seeded import seeded
from codistill.tasks.classification.bank import ImageVectors
from codistill.tasks.shared.batched_fit import FitPlan, HeadsSGD, fit_heads
from codistill.tasks.shared.data import DenseSample
from codistill.tasks.shared.features import FrozenFeatures
from codistill.tasks.shared.inputs import Samples
from codistill.tasks.shared.loading import DenseBatch, Request, View, train_batches, view_batches
from codistill.types import Tokens

RATES = (1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1)
"""Learning rates for a batch of 256; they are scaled in proportion to the batch size."""

LEVELS = 4
INIT_STD = 0.01


@dataclass(frozen=True)
class SweepInput:
    """Input of a head: class tokens of the last `blocks` blocks and, with `mean`, the last block's mean patch token."""

    blocks: int
    mean: bool

    @property
    def name(self) -> str:
        """`last1`, `last4_mean`, …"""
        return f"last{self.blocks}{'_mean' if self.mean else ''}"

    @property
    def kind(self) -> ImageVectors:
        """The `ImageVectors.kind` that yields these vectors."""
        return ImageVectors(kind="cls+mean" if self.mean else "cls")

    def vectors(self, levels: list[Tokens]) -> Tensor:
        """Vectors (image, channel) from the tokens of the last four blocks."""
        return self.kind.vectors(levels[-self.blocks :])


INPUTS = tuple(SweepInput(blocks, mean) for blocks in (1, 4) for mean in (False, True))


class SweepHeads(nn.Module):
    """One linear classifier per learning rate, for one input: `weight` (head, class, channel), `bias` (head, class)."""

    def __init__(self, channels: int, num_classes: int, heads: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(heads, num_classes, channels))
        nn.init.normal_(self.weight[0], std=INIT_STD)
        with torch.no_grad():
            self.weight.copy_(self.weight[:1].clone().expand_as(self.weight))
        self.bias = nn.Parameter(torch.zeros(heads, num_classes))

    def forward(self, vectors: Tensor) -> Tensor:
        """Class scores (head, image, class)."""
        return torch.einsum("nc,hkc->hnk", vectors, self.weight) + self.bias[:, None]


@dataclass(frozen=True)
class ReadImages:
    """Decoded images with their class number as the target."""

    images: Samples

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> DenseSample:
        image = self.images[index]
        return DenseSample(image.read(), np.array(image.label), image.name)


@dataclass(frozen=True)
class CropViews:
    """Random resized crops with flips for training; `plain` is the centre crop of the evaluation."""

    vectors: ImageVectors

    @property
    def size(self) -> tuple[int, int]:
        return self.vectors.crop, self.vectors.crop

    def __call__(self, sample: DenseSample, rng: np.random.Generator) -> View:
        """Take a random crop that covers 8 % to 100 % of the image."""
        rows, columns = sample.image.shape[:2]
        drawn = draw_params(AugmentConfig.plain(scale=(0.08, 1.0)), rng, rows, columns)
        crop = sample.image[drawn.top : drawn.top + drawn.height, drawn.left : drawn.left + drawn.width]
        crop = resize_rgb(crop, self.size)
        return View(np.ascontiguousarray(crop[:, ::-1] if drawn.flip else crop), sample.target, self.size)

    def plain(self, sample: DenseSample) -> View:
        """The centre crop."""
        return View(np.ascontiguousarray(self.vectors.prepared(sample.image)), sample.target, self.size)


@dataclass(frozen=True, kw_only=True)
class SweepResult:
    """The most accurate head on the held-out images.

    Attributes:
        weight, bias: (class, channel), (class,).
        seen: its input. rate: its learning rate, for a batch of 256.
        accuracies: accuracies of all heads on the held-out images, by input and learning rate.
    """

    weight: Tensor
    bias: Tensor
    seen: SweepInput
    rate: float
    accuracies: dict[str, dict[float, float]]


def sweep(
    training: Samples,
    held_out: Samples,
    num_classes: int,
    features: FrozenFeatures,
    vectors: ImageVectors,
    folder: Path,
    *,
    steps: int,
    batch_size: int,
    seed: int = 0,
    workers: int | None = None,
    device: torch.device | None = None,
    progress: Callable[[int, int, Tensor], None] = lambda done, total, losses: None,
) -> SweepResult:
    """Train all heads and choose one; the same call resumes.

    Args:
        training, held_out: disjoint sets of `ClassImage`.
        num_classes: number of classes of the data set.
        features: features of the last four blocks, on the device.
        vectors: sizes of the centre crop of the evaluation.
        folder: folder for the training state.
        steps, batch_size, seed: length, batch size and seed of the training.
        workers, device: loader processes, and the device to compute on.
        progress: see `fit_heads`.
    """
    device = device or torch.device("cpu")
    with seeded(seed):
        heads = nn.ModuleDict(
            {
                seen.name: SweepHeads(seen.kind.channels(seen.blocks, features), num_classes, len(RATES))
                for seen in INPUTS
            }
        ).to(device)
    from_step = train_batches(
        ReadImages(training),
        CropViews(vectors),
        batch_size=batch_size,
        total_steps=steps,
        seed=seed,
        workers=workers,
        device=device,
    )
    batches: Iterator[DenseBatch] | None = None

    def losses(module: nn.Module, step: int) -> Tensor:
        nonlocal batches
        if batches is None:  # one loader, started at the resumed step
            batches = iter(from_step(step))
        batch = next(batches)
        labels = batch.target.to(device)
        with torch.no_grad(), autocast(device):
            levels = features(batch.images)
        total = torch.zeros(len(RATES), device=device)
        for seen in INPUTS:
            scores = module.get_submodule(seen.name)(seen.vectors(levels))
            repeated = labels.repeat(len(RATES))
            each = cross_entropy(scores.flatten(0, 1), repeated, reduction="none").view(len(RATES), -1)
            total = total + each.mean(1)
        return total

    optimizer = HeadsSGD(heads, [rate * batch_size / 256 for rate in RATES])
    plan = FitPlan(factors=cosine(1.0, 0.0, steps), save_every=max(20, steps // 20))
    fit_heads(heads, losses, optimizer, plan, folder, progress=progress)
    accuracies = _accuracies(heads, held_out, features, vectors, batch_size, workers, device)
    seen = max(INPUTS, key=lambda one: max(accuracies[one.name].values()))
    rate = max(RATES, key=lambda one: accuracies[seen.name][one])
    chosen: SweepHeads = heads[seen.name]  # type: ignore[assignment]
    index = RATES.index(rate)
    return SweepResult(
        weight=chosen.weight[index].detach().cpu().clone(),
        bias=chosen.bias[index].detach().cpu().clone(),
        seen=seen,
        rate=rate,
        accuracies=accuracies,
    )


@torch.no_grad()
def _accuracies(
    heads: nn.ModuleDict,
    held_out: Samples,
    features: FrozenFeatures,
    vectors: ImageVectors,
    batch_size: int,
    workers: int | None,
    device: torch.device,
) -> dict[str, dict[float, float]]:
    """Share of held-out images that each head classifies correctly, by input and learning rate."""
    count = len(held_out)
    requests = [
        Request(0, items, items, plain=True)
        for items in (
            tuple(range(start, min(start + batch_size, count))) for start in range(0, count, batch_size)
        )
    ]
    hits = {seen.name: torch.zeros(len(RATES), device=device) for seen in INPUTS}
    for batch in view_batches(
        ReadImages(held_out), CropViews(vectors), requests, seed=0, workers=workers, device=device
    ):
        with autocast(device):
            levels = features(batch.images)
        labels = batch.target.to(device)
        for seen in INPUTS:
            scores = heads.get_submodule(seen.name)(seen.vectors(levels))
            hits[seen.name] += (scores.argmax(-1) == labels).float().sum(1)
    return {name: dict(zip(RATES, (values / count).tolist(), strict=True)) for name, values in hits.items()}

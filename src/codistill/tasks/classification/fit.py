"""Fit a classifier of whole images on frozen features: a bank for nearest neighbours, or logistic regression.

A config in, a head folder out: head.json, the training images' vectors, and for `linear` the weights.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from codistill.errors import ConfigError
from codistill.files.config import config_hash
from codistill.tasks.classification.bank import FEATURES, ImageVectors, build_bank
from codistill.tasks.classification.data import ImageFolder, open_image_folder
from codistill.tasks.classification.knn import NEIGHBOURS, TEMPERATURE
from codistill.tasks.classification.logistic import STRENGTHS, choose_logistic, split_per_class
from codistill.tasks.classification.sweep import LEVELS, sweep
from codistill.tasks.dense.rate_sweep import edge_of
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.features import FeatureConfig, FrozenFeatures
from codistill.tasks.shared.head_files import HeadRecord, write_head
from codistill.tasks.shared.resumed import stage_folder, with_encoder
from codistill.tasks.shared.same_encoder import told_of

Classifier = Literal["knn", "linear"]
Protocol = Literal["cached", "published"]
BANK, LABELS = "bank", "labels"
HELD_OUT = 0.1
"""Share of each class's training images that chooses among the published protocol's heads."""


@dataclass(frozen=True, kw_only=True)
class ClassificationFit:
    """How a classifier is fitted.

    Attributes:
        task: `knn` or `linear`.
        data: an image folder: ROOT/{train,val}/CLASS/IMAGE.
        features: which encoder, which blocks, normed or not.
        vectors: how tokens become one vector.
        neighbours: of `knn`; None: the usual ones, as far as there are training images for them.
        temperature: of `knn`.
        protocol: of `linear`: `cached`: logistic regression on vectors computed once; `published`: DINOv2's sweep of
            heads on random crops (`sweep.py`; its heads say themselves which vectors they take).
        strengths: the C that the cached protocol chooses from.
        steps: of the published protocol, in batches of `batch_size` (its own: 12 500 of 128).
        limit: use so many training images, evenly spread.
        batch_size: images at a time.
        seed: of the held-out part.
    """

    task: Classifier
    data: str
    features: FeatureConfig
    vectors: ImageVectors = field(default_factory=ImageVectors)
    neighbours: tuple[int, ...] | None = None
    temperature: float = TEMPERATURE
    protocol: Protocol = "cached"
    strengths: tuple[float, ...] = STRENGTHS
    steps: int = 12_500
    limit: int | None = None
    batch_size: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        if self.task not in ("knn", "linear"):
            raise ConfigError(f"the task must be knn or linear; got {self.task!r}")
        if self.protocol not in ("cached", "published") or self.steps < 1:
            raise ConfigError(
                f"protocol must be cached or published, steps 1 or more; got {self.protocol}, {self.steps}"
            )
        if self.protocol == "published" and (self.task != "linear" or self.features.blocks != (-1,)):
            raise ConfigError(
                "the published protocol is for linear, and chooses its blocks itself (no --blocks)"
            )
        named = NEIGHBOURS if self.neighbours is None else self.neighbours
        if not named or min(named) < 1 or self.temperature <= 0:
            raise ConfigError(f"neighbours and temperature must be positive; got {named}, {self.temperature}")
        if not self.strengths or min(self.strengths) <= 0 or self.batch_size < 1:
            raise ConfigError(f"C and the batch must be positive; got {self.strengths}, {self.batch_size}")


def fit_classifier(
    config: ClassificationFit,
    runtime: Runtime,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Fit and write to `runtime.out`; the same call goes on after an interruption.

    Raises:
        ConfigError, DataError, CheckpointError: the text says what to do.
    """
    data = open_image_folder(config.data, "train").limited(config.limit)
    neighbours = possible_neighbours(config.neighbours, len(data)) if config.task == "knn" else ()
    if config.task == "knn" and config.neighbours is None and neighbours != NEIGHBOURS:
        missed = _listed(NEIGHBOURS[len(neighbours) :])
        runtime.say(
            f"{len(data)} training images: no votes of {missed} neighbours, only of {_listed(neighbours)}"
        )
    features = FrozenFeatures(_features(config)).to(runtime.device)
    runtime.say(
        f"{len(data)} images of {len(data.classes)} classes in {data.root}; licence of {features.encoder.spec.name}: "
        f"{features.encoder.spec.licence}"
    )
    tensors: dict[str, Tensor] = {LABELS: torch.from_numpy(data.labels)}
    fit: dict[str, Any] = {"images": len(data), "seed": config.seed, "protocol": config.protocol}
    if config.protocol == "published":
        seen, vectors = _sweep(config, data, features, runtime, tensors, fit)
    else:
        seen, vectors = config.features, config.vectors
        bank = build_bank(
            runtime.out / BANK,
            data.paths,
            config.vectors,
            features,
            data=config.data,
            batch_size=config.batch_size,
            workers=runtime.workers,
            device=runtime.device,
            progress=progress,
            say=runtime.say,
        )
        if config.task == "knn":
            fit |= {"neighbours": list(neighbours), "temperature": config.temperature}
        else:
            fit |= _logistic(config, data, bank, runtime, tensors)
    record = HeadRecord(
        task=config.task,
        features=seen,
        data={"spec": config.data, "images": len(data), "classes": list(data.classes)},
        test=asdict(vectors),
        encoder=told_of(features),
        fit=fit,
    )
    write_head(runtime.out, record, tensors, list(runtime.command))


def possible_neighbours(named: tuple[int, ...] | None, images: int) -> tuple[int, ...]:
    """The numbers of neighbours to use: those that were named, else the usual ones that there are images for.

    Args:
        named: what was asked for.
        images: training images.

    Raises:
        ConfigError: if there are fewer images than were named, or than the least of the usual numbers.
    """
    if named is not None:
        if max(named) > images:
            raise ConfigError(
                f"--neighbours {_listed(named)}: there are {images} training images, and no more can vote"
            )
        return named
    possible = tuple(k for k in NEIGHBOURS if k <= images)
    if not possible:
        raise ConfigError(
            f"{images} training images are fewer than the usual {_listed(NEIGHBOURS)} neighbours: name how many vote, "
            f"e.g. --neighbours 1,{min(5, images)}"
        )
    return possible


def _listed(numbers: tuple[int, ...]) -> str:
    return ",".join(map(str, numbers))


def _features(config: ClassificationFit) -> FeatureConfig:
    if config.protocol == "cached":
        return config.features
    return replace(config.features, blocks=tuple(range(-LEVELS, 0)))


def _sweep(
    config: ClassificationFit,
    data: ImageFolder,
    features: FrozenFeatures,
    runtime: Runtime,
    tensors: dict[str, Tensor],
    fit: dict[str, Any],
) -> tuple[FeatureConfig, ImageVectors]:
    """Run the sweep; the chosen head's tensors and facts go into the last two. Gives what the head stands on."""
    kept, held = split_per_class(data.labels, HELD_OUT, config.seed, data.groups.names)
    inputs = with_encoder(data.inputs(), features)
    folder = stage_folder(runtime.out, f"sweep-{config_hash(config)[:12]}", inputs, runtime.say)

    def progress(done: int, total: int, losses: Tensor) -> None:
        numbers = " ".join(f"{value:.3f}" for value in losses.tolist())
        runtime.say(f"step {done}/{total}  losses by learning rate, summed over inputs: {numbers}")

    result = sweep(
        data.chosen(kept),
        data.chosen(held),
        features,
        config.vectors,
        folder,
        steps=config.steps,
        batch_size=config.batch_size,
        seed=config.seed,
        workers=runtime.workers,
        device=runtime.device,
        progress=progress,
    )
    tensors |= {"weight": result.weight, "bias": result.bias}
    best = result.accuracies[result.seen.name][result.rate]
    runtime.say(
        f"best of {sum(map(len, result.accuracies.values()))} heads on held-out images: {result.seen.name}, learning "
        f"rate {result.rate:g} (for a batch of 256): {best:.1%}"
    )
    edge = edge_of(result.rate, result.accuracies[result.seen.name])
    if edge:
        runtime.say(
            f"{result.rate:g} is the {edge} learning rate of the sweep: others may do better (--steps)"
        )
    fit |= {
        "steps": config.steps,
        "batch_size": config.batch_size,
        "chosen_input": result.seen.name,
        "chosen_lr": result.rate,
        "lr_at_edge": edge,
        "held_out_accuracy": {
            name: {f"{rate:g}": round(value, 6) for rate, value in by_rate.items()}
            for name, by_rate in result.accuracies.items()
        },
    }
    vectors = replace(config.vectors, kind="cls+mean" if result.seen.mean else "cls")
    return replace(config.features, blocks=tuple(range(-result.seen.blocks, 0))), vectors


def _logistic(
    config: ClassificationFit,
    data: ImageFolder,
    bank: np.ndarray,
    runtime: Runtime,
    tensors: dict[str, Tensor],
) -> dict[str, Any]:
    vectors = torch.from_numpy(np.array(bank)).to(runtime.device)
    labels = torch.from_numpy(data.labels).to(runtime.device)
    choice = choose_logistic(
        vectors, labels, len(data.classes), data.groups.names, strengths=config.strengths, seed=config.seed
    )
    tensors |= {"weight": choice.model.weight, "bias": choice.model.bias}
    listed = ", ".join(f"{c:g}: {accuracy:.1%}" for c, accuracy in choice.accuracies.items())
    runtime.say(f"accuracy on held-out images by C: {listed}; chosen: {choice.model.strength:g}")
    return {
        "classifier": "logistic regression (L-BFGS), C chosen on a fifth of every class, then fitted on all",
        "chosen_c": choice.model.strength,
        "held_out_accuracy": {f"{c:g}": round(a, 6) for c, a in choice.accuracies.items()},
    }


def bank_file(head: Path) -> Path:
    """Where a head keeps the training images' vectors."""
    return head / BANK / FEATURES

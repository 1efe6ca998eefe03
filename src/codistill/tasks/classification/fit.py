"""Fit a classifier of whole images on frozen features: nearest neighbours or a linear classifier.

Takes a config, writes a head folder. For `linear`, HEAD/head.safetensors holds `weight` and `bias`. For `knn` it holds
the classes of the training images (`labels`), and HEAD/bank holds their vectors. Vectors for logistic regression are
only a cache.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from codistill.engine.distributed import Process
from codistill.errors import ConfigError
from codistill.files.config import config_hash
from codistill.files.plain import to_plain
from codistill.tasks.classification.bank import FEATURES, ImageVectors, build_bank
from codistill.tasks.classification.config import ClassificationFit, KnnFit, LinearFit, Votes
from codistill.tasks.classification.data import ClassificationData
from codistill.tasks.classification.knn import NEIGHBOURS
from codistill.tasks.classification.logistic import choose_logistic, split_per_class
from codistill.tasks.classification.sweep import LEVELS, sweep
from codistill.tasks.dense.rate_sweep import edge_of
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.data import Subset
from codistill.tasks.shared.features import FeatureConfig, FrozenFeatures
from codistill.tasks.shared.groups import named_groups
from codistill.tasks.shared.head_files import HeadData, HeadRecord, write_head
from codistill.tasks.shared.inputs import inputs_of
from codistill.tasks.shared.progress import shown
from codistill.tasks.shared.resumed import stage_folder, with_encoder
from codistill.tasks.shared.same_encoder import told_of

BANK, LABELS = "bank", "labels"
HELD_OUT = 0.1
"""Share of each class's training images held out to choose among the heads of the published protocol."""


def fit_knn(data: ClassificationData, config: KnnFit, runtime: Runtime, process: Process) -> bool:
    """Compute the vectors of the training images, which vote later; the same call resumes.

    Raises:
        ConfigError, DataError, CheckpointError: if an input cannot be used; the message says what to do.
    """
    _refuse_several(process)
    count = len(data.samples)
    neighbours = possible_neighbours(config.neighbours, count)
    if config.neighbours is None and neighbours != NEIGHBOURS:
        missed = _listed(NEIGHBOURS[len(neighbours) :])
        runtime.say(
            f"{count} training images: no votes of {missed} neighbours, only of {_listed(neighbours)}"
        )
    features = _features(config.features, data, runtime)
    _bank(runtime.out / BANK, "--out", data, config, features, runtime)
    votes = Votes(neighbours=neighbours, temperature=config.temperature)
    fitted = _Fitted(config.features, config.vectors, {}, {"protocol": "usual"}, to_plain(votes))
    _write("knn", data, features, fitted, runtime)
    return True


def fit_linear(data: ClassificationData, config: LinearFit, runtime: Runtime, process: Process) -> bool:
    """Fit a linear classifier by the protocol that the config names; the same call resumes.

    Raises:
        ConfigError, DataError, CheckpointError: if an input cannot be used; the message says what to do.
    """
    published = config.protocol == "published"
    _refuse_several(process)
    blocks = tuple(range(-LEVELS, 0)) if published else config.features.blocks
    features = _features(replace(config.features, blocks=blocks), data, runtime)
    fitted = (_sweep if published else _logistic)(config, data, features, runtime)
    _write("linear", data, features, fitted, runtime)
    return True


@dataclass(frozen=True)
class _Fitted:
    """Result of a fit: the head's features and vectors, its tensors, facts on the fit, and the head's config."""

    features: FeatureConfig
    vectors: ImageVectors
    tensors: dict[str, Tensor]
    facts: dict[str, Any]
    head: dict[str, Any] = field(default_factory=dict)


def _refuse_several(process: Process) -> None:
    if process.world_size > 1:
        raise ConfigError(
            f"{process.world_size} processes were started; classifiers are fitted by one. Start it without torchrun."
        )


def _features(config: FeatureConfig, data: ClassificationData, runtime: Runtime) -> FrozenFeatures:
    features = FrozenFeatures(config).to(runtime.device)
    runtime.say(
        f"{len(data.samples)} images of {len(data.classes)} classes in {data.spec}; licence of "
        f"{features.encoder.spec.name}: {features.encoder.spec.licence}"
    )
    return features


def _bank(
    folder: Path,
    option: str,
    data: ClassificationData,
    config: ClassificationFit,
    features: FrozenFeatures,
    runtime: Runtime,
) -> np.ndarray:
    with shown(runtime, "encoding images", len(data.samples)) as report:
        return build_bank(
            folder,
            data.samples,
            config.vectors,
            features,
            option=option,
            data=config.data,
            batch_size=config.batch_size,
            workers=runtime.workers,
            device=runtime.device,
            progress=report,
            say=runtime.say,
        )


def _write(
    task: str, data: ClassificationData, features: FrozenFeatures, fitted: _Fitted, runtime: Runtime
) -> None:
    record = HeadRecord(
        task=task,
        features=fitted.features,
        data=HeadData(spec=data.spec, samples=len(data.samples), classes=data.classes),
        test=to_plain(fitted.vectors),
        head=fitted.head,
        encoder=told_of(features),
        fit=fitted.facts,
    )
    votes = {LABELS: torch.from_numpy(data.labels())} if task == "knn" else {}
    tensors = {**votes, **fitted.tensors}
    write_head(runtime.out, record, tensors, list(runtime.command))


def possible_neighbours(named: tuple[int, ...] | None, images: int) -> tuple[int, ...]:
    """The numbers of neighbours to use: the given ones, or the defaults that the training set is large enough for.

    Args:
        named: numbers given by the user, or None.
        images: number of training images.

    Raises:
        ConfigError: if there are fewer images than a given number, or than the smallest default.
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
            f"e.g. --neighbours 1 {min(5, images)}"
        )
    return possible


def _listed(numbers: tuple[int, ...]) -> str:
    return " ".join(map(str, numbers))


def _sweep(
    config: LinearFit, data: ClassificationData, features: FrozenFeatures, runtime: Runtime
) -> _Fitted:
    kept, held = split_per_class(data.labels(), HELD_OUT, config.seed, named_groups(data.samples).names)
    inputs = with_encoder(inputs_of(data.samples), features)
    folder = stage_folder(runtime.out, f"sweep-{config_hash(config)[:12]}", inputs, runtime.say)

    def progress(done: int, total: int, losses: Tensor) -> None:
        numbers = " ".join(f"{value:.3f}" for value in losses.tolist())
        runtime.say(f"step {done}/{total}  losses by learning rate, summed over inputs: {numbers}")

    result = sweep(
        Subset(data.samples, tuple(kept.tolist())),
        Subset(data.samples, tuple(held.tolist())),
        len(data.classes),
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
    facts = {
        "protocol": config.protocol,
        "seed": config.seed,
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
    vectors = replace(config.vectors, kind=result.seen.kind.kind)
    seen = replace(config.features, blocks=tuple(range(-result.seen.blocks, 0)))
    return _Fitted(seen, vectors, {"weight": result.weight, "bias": result.bias}, facts)


def _logistic(
    config: LinearFit, data: ClassificationData, features: FrozenFeatures, runtime: Runtime
) -> _Fitted:
    bank = _bank(runtime.cache_folder / "vectors", "--cache", data, config, features, runtime)
    choice = choose_logistic(
        torch.from_numpy(np.array(bank)).to(runtime.device),
        torch.from_numpy(data.labels()).to(runtime.device),
        len(data.classes),
        named_groups(data.samples).names,
        strengths=config.strengths,
        seed=config.seed,
    )
    listed = ", ".join(f"{c:g}: {accuracy:.1%}" for c, accuracy in choice.accuracies.items())
    runtime.say(f"accuracy on held-out images by C: {listed}; chosen: {choice.model.strength:g}")
    facts = {
        "protocol": config.protocol,
        "seed": config.seed,
        "classifier": "logistic regression (L-BFGS), C chosen on a fifth of every class, then fitted on all",
        "chosen_c": choice.model.strength,
        "held_out_accuracy": {f"{c:g}": round(a, 6) for c, a in choice.accuracies.items()},
    }
    tensors = {"weight": choice.model.weight, "bias": choice.model.bias}
    return _Fitted(config.features, config.vectors, tensors, facts)


def bank_file(head: Path) -> Path:
    """File with the vectors of the training images of a `knn` head."""
    return head / BANK / FEATURES

"""Fit a dense head: a config in, a head folder out; the same call resumes.

`cached`: several heads train on stored features of a few views, and held-out images choose among them. `published`: one
head trains on fresh views in every step, through the engine. A `DenseHead` holds what differs between tasks.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from codistill.engine.distributed import Process
from codistill.engine.optim import OptimConfig
from codistill.tasks.dense.cached_fit import default_steps, fit_cached, refuse_several
from codistill.tasks.dense.cached_task import CachedTask
from codistill.tasks.dense.config import DenseFit
from codistill.tasks.dense.objective import HeadInput, HeadLoss
from codistill.tasks.dense.published_fit import fit_published
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.features import FrozenFeatures
from codistill.tasks.shared.head_files import HeadData, HeadRecord, write_head
from codistill.tasks.shared.loading import ViewMaker
from codistill.tasks.shared.same_encoder import told_of


@dataclass(frozen=True, kw_only=True)
class DenseHead:
    """A task's heads: how they are built, trained and saved.

    Attributes:
        task: its name.
        optim: optimizer of the published protocol.
        shape: features, data and config to the head's own config.
        build: that config to a fresh head.
        cached: the head's config, number of levels, steps and config to the cached protocol's side.
        input: levels of tokens to a head's input map.
        loss: config and steps to the published protocol's loss.
        views: a data set's protocol to the maker of training views.
        tensors: a fitted head to tensors under the names of released files.
    """

    task: str
    optim: OptimConfig
    shape: Callable[[FrozenFeatures, Any, Any], Any]
    build: Callable[[Any], nn.Module]
    cached: Callable[[Any, int, int, Any], CachedTask]
    input: HeadInput
    loss: Callable[[Any, int], HeadLoss]
    views: Callable[[Any], ViewMaker]
    tensors: Callable[[Any], Mapping[str, Tensor]]


def fit_dense(
    kind: DenseHead,
    data: Any,
    config: DenseFit,
    runtime: Runtime,
    process: Process,
    *,
    classes: tuple[str, ...] = (),
    told: Mapping[str, Any] | None = None,
) -> bool:
    """Fit a head and write it to `runtime.out`.

    Args:
        kind: of the head.
        data: the training split, limited and checked, with a `protocol`.
        config, runtime, process: of the fit.
        classes: that the head tells apart.
        told: what head.json says of the fit beside what every fit says.

    Returns:
        Whether it is finished (a published fit may be stopped before its end).

    Raises:
        ConfigError, DataError, CheckpointError: the text says what to do.
    """
    protocol = data.protocol if config.size is None else data.protocol.at_size(config.size)
    features = FrozenFeatures(config.features)
    steps = config.steps or default_steps(config, len(data.samples), protocol.steps)
    shape = kind.shape(features, data, config)
    runtime.say(
        f"{config.protocol} fit on {len(data.samples)} images of {config.data}, {steps} steps of {config.batch_size} "
        f"views; licence of {features.encoder.spec.name}: {features.encoder.spec.licence}"
    )
    if config.protocol == "cached":
        refuse_several(process)
        side = kind.cached(shape, len(config.features.blocks), steps, config)
        result = fit_cached(side, config, steps, data.samples, features, kind.views(protocol), runtime)
        head, facts = result.heads.pick(result.chosen), result.facts
    else:
        head = _fresh(kind, shape, config.seed)
        facts = fit_published(
            head,
            kind.input,
            kind.loss(config, steps),
            kind.optim,
            config,
            steps,
            data.samples,
            features,
            kind.views(protocol),
            runtime,
            process,
        )
        if facts is None:
            return False
    record = HeadRecord(
        task=kind.task,
        features=config.features,
        data=HeadData(spec=config.data, samples=len(data.samples), classes=classes),
        test={**asdict(protocol), "steps": steps},
        head=asdict(shape),
        encoder=told_of(features),
        fit={
            "protocol": config.protocol,
            "steps": steps,
            "batch_size": config.batch_size,
            **facts,
            **(told or {}),
        },
    )
    if process.is_main:
        write_head(runtime.out, record, kind.tensors(head.cpu()), list(runtime.command))
    return True


def _fresh(kind: DenseHead, shape: Any, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return kind.build(shape)

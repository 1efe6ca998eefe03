"""Fit a dense head: takes a config, writes a head folder; the same call resumes.

`cached`: several heads train on stored features of a few views, and held-out images choose among them. `published`: one
head trains on fresh views in every step, with the engine. A `DenseHead` defines what differs between tasks.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn

from codistill.engine.distributed import Process
from codistill.engine.optim import OptimConfig
from codistill.nn.seeded import seeded
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
    """What a task defines to build, train and save its heads.

    Attributes:
        task: name of the task.
        optim: optimizer of the published protocol.
        shape: given features, data and config, returns the config of the head.
        build: given that config, returns an untrained head.
        cached: given the head's config, number of levels, steps and config, returns the `CachedTask`.
        input: turns levels of tokens into the head's input map.
        loss: given config and steps, returns the loss of the published protocol.
        views: given the data set's protocol, returns the maker of training views.
        tensors: given a fitted head, returns its tensors under the names of released files.
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
        kind: what the task defines.
        data: the training split, limited and checked, with a `protocol`.
        config, runtime, process: the fit, how to compute it, and this process.
        classes: names of the head's classes.
        told: facts for head.json in addition to those of every fit.

    Returns:
        Whether the fit is finished (a published fit may be stopped before its end).

    Raises:
        ConfigError, DataError, CheckpointError: if an input cannot be used; the message says what to do.
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
    with seeded(seed):
        return kind.build(shape)

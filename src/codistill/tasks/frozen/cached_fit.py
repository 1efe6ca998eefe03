"""Fitting by the cached protocol, whatever the task: cache, fit all heads together, choose on held-out images.

The task says how heads are built, what they lose on sampled pixels and how they score: `cached_task.py`.
"""

import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from codistill.data.permutation import keys_of, permute
from codistill.data.randomness import generator
from codistill.engine.config import config_hash
from codistill.engine.distributed import Process
from codistill.engine.files import make_directory
from codistill.errors import ConfigError
from codistill.tasks.frozen.batched_fit import FitPlan, HeadsAdamW, fit_heads
from codistill.tasks.frozen.cache import CacheShape, FeatureCache, announce, build_cache, cache_shape
from codistill.tasks.frozen.cached_task import CachedTask, sample_pixels
from codistill.tasks.frozen.config import HeadFit, Runtime
from codistill.tasks.frozen.data import DenseData, Subset
from codistill.tasks.frozen.features import FrozenFeatures
from codistill.tasks.frozen.groups import named_groups, split_groups
from codistill.tasks.frozen.loading import PIXELS, ViewMaker

_SCORED_PIXELS = 4096


@dataclass(frozen=True)
class CachedResult:
    """Fitted heads and the choice among them.

    Attributes:
        heads: all of them, in evaluation mode, on the CPU.
        chosen: index of the best on the held-out images.
        facts: for the record: scores, sizes, seconds.
    """

    heads: Any
    chosen: int
    facts: dict[str, Any]


def refuse_several(process: Process) -> None:
    """Raise ConfigError under torchrun: one process fits all heads."""
    if process.world_size > 1:
        raise ConfigError(
            f"{process.world_size} processes were started; the cached protocol is one process. Start it without "
            "torchrun, or take --protocol published."
        )


def split_held_out(data: DenseData, share: float, seed: int) -> tuple[Subset, Subset]:
    """Training and held-out samples of different groups (see `split_groups`); the same for the same seed.

    Raises:
        DataError: if there are fewer than two samples.
    """
    split = split_groups(named_groups(data), max(8, round(share * len(data))), seed)
    return Subset(data, split.training), Subset(data, split.held_out)


def fit_cached(
    task: CachedTask,
    config: HeadFit,
    steps: int,
    data: DenseData,
    features: FrozenFeatures,
    maker: ViewMaker,
    runtime: Runtime,
) -> CachedResult:
    """Fit a head per learning rate and choose; what was begun before goes on.

    Raises:
        ConfigError: if the disk is too small, or the cache folder holds something else.
        DataError, CheckpointError: see `build_cache`, `fit_heads`.
    """
    features.to(runtime.device)
    training, held_out = split_held_out(data, config.held_out, config.seed)
    shared = sorted({*training.groups.names} & {*held_out.groups.names})
    if shared:
        runtime.say(
            f"all images are of one group ({training.groups.kind}: {shared[0]}): those that choose the learning rate "
            "resemble those that train, and flatter large rates"
        )
    shapes = {
        "training": cache_shape(
            features, maker, len(training) * config.views, task.kind, with_cls=task.with_cls, unit=task.unit
        ),
        "held-out": cache_shape(
            features, maker, len(held_out), task.kind, with_cls=task.with_cls, unit=task.unit
        ),
    }
    runtime.say(announce(shapes, runtime.cache_folder))
    started = time.perf_counter()
    caches = {
        name: _cache(name, part, shapes[name], config, features, maker, runtime)
        for name, part in (("training", training), ("held-out", held_out))
    }
    encoded = time.perf_counter()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        shape = shapes["training"]
        heads = task.build(shape.channels + shape.cls_channels, len(config.learning_rates))
    heads.to(runtime.device)
    folder = runtime.cache_folder / f"fit-{config_hash(config)[:12]}-{steps}"
    make_directory(folder)
    _fit(task, config, steps, heads, caches["training"], folder, runtime)
    fitted = time.perf_counter()
    scores = _scores(task, heads, caches["held-out"], config.seed, runtime.device)
    ordered = np.where(np.isnan(scores), -np.inf, scores if task.higher_is_better else -scores)
    chosen = int(ordered.argmax())
    _comment(task, config, scores, chosen, runtime)
    facts = {
        "heads": [
            {"lr": rate, task.score_name: round(float(score), 6)}
            for rate, score in zip(config.learning_rates, scores, strict=True)
        ],
        "chosen_lr": config.learning_rates[chosen],
        "training_views": len(caches["training"]),
        "held_out_images": len(held_out),
        "held_out_groups": {
            "count": held_out.groups.count,
            "kind": held_out.groups.kind,
            "shared": bool(shared),
        },
        "cache_bytes": sum(s.num_bytes for s in shapes.values()),
        "seconds_features": round(encoded - started, 2),
        "seconds_fit": round(fitted - encoded, 2),
    }
    return CachedResult(heads.cpu().eval(), chosen, facts)


def _comment(task: CachedTask, config: HeadFit, scores: np.ndarray, chosen: int, runtime: Runtime) -> None:
    """Say which head was chosen, and where a wider search would make sense."""
    rates = config.learning_rates
    listed = ", ".join(f"{rate:g}: {score:.4g}" for rate, score in zip(rates, scores, strict=True))
    runtime.say(f"{task.score_name} on held-out images by learning rate: {listed}; chosen: {rates[chosen]:g}")
    if len(rates) > 1 and rates[chosen] in (min(rates), max(rates)):
        runtime.say(
            f"{rates[chosen]:g} is the {'smallest' if rates[chosen] == min(rates) else 'largest'} learning rate tried: "
            "others may do better (--lr, or more --steps); the stored features are used again"
        )


def _cache(
    name: str,
    part: Subset,
    shape: CacheShape,
    config: HeadFit,
    features: FrozenFeatures,
    maker: ViewMaker,
    runtime: Runtime,
) -> FeatureCache:
    key = {
        "features": features.fingerprint(),
        "encoder": config.features.encoder,
        "data": config.data,
        "images": len(part),
        "samples": zlib.crc32(np.array(part.indices, dtype=np.int64).tobytes()),
        "of": [config.limit, config.held_out],
        "views": repr(maker),
        "passes": config.views if name == "training" else 0,
        "seed": config.seed,
    }
    quiet = not runtime.console.is_terminal
    columns = (TextColumn(f"{name:<9}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=runtime.console, transient=True, disable=quiet) as bar:
        line = bar.add_task("", total=shape.views)
        return build_cache(
            runtime.cache_folder / name,
            key,
            shape,
            features,
            part,
            maker,
            seed=config.seed,
            plain=name != "training",
            batch_size=config.batch_size,
            workers=runtime.workers,
            device=runtime.device,
            autocast=runtime.device.type == "cuda",
            progress=lambda done, _: bar.update(line, completed=done),
        )


def _fit(
    task: CachedTask,
    config: HeadFit,
    steps: int,
    heads: nn.Module,
    cache: FeatureCache,
    folder: Path,
    runtime: Runtime,
) -> None:
    optimizer = HeadsAdamW(
        heads, config.learning_rates, weight_decay=config.weight_decay, clip_norm=task.clip_norm
    )
    factors = task.factors(steps)
    place = np.arange(config.batch_size)

    def losses(module: nn.Module, step: int) -> Tensor:
        passes, position = np.divmod(place + step * config.batch_size, len(cache))
        views = permute(position, len(cache), keys_of(config.seed, passes))
        rng = generator(config.seed, PIXELS, step)
        return task.losses(module, sample_pixels(cache, views, config.pixels, rng, runtime.device), step)

    def progress(done: int, total: int, values: Tensor) -> None:
        numbers = " ".join(f"{value:.4f}" for value in values.tolist())
        runtime.say(f"step {done}/{total}  losses {numbers}")

    plan = FitPlan(factors=factors, save_every=max(100, steps // 10))
    fit_heads(heads, losses, optimizer, plan, folder, progress=progress)


@torch.no_grad()
def _scores(
    task: CachedTask, heads: nn.Module, cache: FeatureCache, seed: int, device: torch.device
) -> np.ndarray:
    total: np.ndarray | None = None
    for start in range(0, len(cache), 4):
        views = np.arange(start, min(start + 4, len(cache)))
        sampled = sample_pixels(cache, views, _SCORED_PIXELS, generator(seed, PIXELS, 0, 1 + start), device)
        tally = task.tally(heads, sampled)
        total = tally if total is None else total + tally
    assert total is not None
    return task.score(total)

"""Fit heads of a dense task by the cached protocol: store features, fit all heads together, choose on held-out images.

The task defines how heads are built, their loss on sampled pixels and their score: see `cached_task.py`.
"""

import math
import time
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from codistill.engine.distributed import Process
from codistill.errors import ConfigError
from codistill.tasks.dense.cache import CacheShape, FeatureCache, announce, build_cache, cache_shape
from codistill.tasks.dense.cached_task import CachedTask
from codistill.tasks.dense.config import DenseFit
from codistill.tasks.dense.rate_sweep import sweep_rates
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.data import DenseData, Subset
from codistill.tasks.shared.features import FrozenFeatures
from codistill.tasks.shared.groups import named_groups, split_groups
from codistill.tasks.shared.loading import ViewMaker
from codistill.tasks.shared.progress import shown

_PASSES, _LEAST_STEPS = 12, 200
"""How often a fit of default length uses every view, and its smallest number of steps."""


@dataclass(frozen=True)
class CachedResult:
    """Fitted heads, and the choice among them.

    Attributes:
        heads: all heads, in evaluation mode, on the CPU.
        chosen: index of the best head on the held-out images.
        facts: facts for the record: scores, sizes, seconds.
    """

    heads: Any
    chosen: int
    facts: dict[str, Any]


def refuse_several(process: Process) -> None:
    """Raise ConfigError under torchrun, since one process fits all heads."""
    if process.world_size > 1:
        raise ConfigError(
            f"{process.world_size} processes were started; the cached protocol is one process. Start it without "
            "torchrun, or take the recipe `published`."
        )


def split_held_out(data: DenseData, share: float, seed: int) -> tuple[Subset, Subset]:
    """Split into training and held-out samples of different groups (see `split_groups`); the seed decides which.

    Raises:
        DataError: if there are fewer than two samples.
    """
    split = split_groups(named_groups(data), max(8, round(share * len(data))), seed)
    return Subset(data, split.training), Subset(data, split.held_out)


def default_views(images: int) -> int:
    """Default number of random views per image: 4, or 2 for more than 250 images, which are varied enough."""
    return 4 if images <= 250 else 2


def default_steps(config: DenseFit, images: int, longest: int) -> int:
    """Steps if the config gives none: `longest` (published), or a number that grows with the data (cached).

    Args:
        config: config of the fit. images: number of training images. longest: the data set's own number of steps.
    """
    if config.protocol != "cached":
        return longest
    views = images * (config.views or default_views(images))
    return min(longest, max(_LEAST_STEPS, math.ceil(_PASSES * views / config.batch_size)))


def fit_cached(
    task: CachedTask,
    config: DenseFit,
    steps: int,
    data: DenseData,
    features: FrozenFeatures,
    maker: ViewMaker,
    runtime: Runtime,
) -> CachedResult:
    """Fit one head per learning rate and choose the best; the same call resumes.

    Raises:
        ConfigError: if the disk is too small, or the cache folder holds something else.
        DataError, CheckpointError: see `build_cache`, `fit_heads`.
    """
    features.to(runtime.device)
    views = config.views or default_views(len(data))
    training, held_out = split_held_out(data, config.held_out, config.seed)
    shared = sorted({*training.groups.names} & {*held_out.groups.names})
    if shared:
        runtime.say(
            f"all images are of one group ({training.groups.kind}: {shared[0]}): those that choose the learning rate "
            "resemble those that train, and flatter large rates"
        )
    shapes = {
        "training": cache_shape(
            features, maker, len(training) * views, task.kind, with_cls=task.with_cls, unit=task.unit
        ),
        "held-out": cache_shape(
            features, maker, len(held_out), task.kind, with_cls=task.with_cls, unit=task.unit
        ),
    }
    runtime.say(announce(shapes, runtime.cache_folder))
    clocks = [_clocks()]
    caches = {
        name: _cache(name, part, shapes[name], config, views, features, maker, runtime)
        for name, part in (("training", training), ("held-out", held_out))
    }
    clocks.append(_clocks())
    swept = sweep_rates(task, config, steps, caches["training"], caches["held-out"], runtime)
    clocks.append(_clocks())
    features_took, fit_took = ([b - a for a, b in zip(*pair, strict=True)] for pair in pairwise(clocks))
    facts = {
        "heads": [
            {"lr": rate, task.score_name: round(score, 6) if math.isfinite(score) else None}
            for rate, score in swept.scores.items()
        ],
        "chosen_lr": swept.rate,
        "lr_at_edge": swept.edge,
        "training_views": len(caches["training"]),
        "held_out_images": len(held_out),
        "held_out_groups": {
            "count": held_out.groups.count,
            "kind": held_out.groups.kind,
            "shared": bool(shared),
        },
        "cache_bytes": sum(s.num_bytes for s in shapes.values()),
        "seconds_features": round(features_took[0], 2),
        "seconds_fit": round(fit_took[0], 2),
        "processor_seconds_features": round(features_took[1], 2),
        "processor_seconds_fit": round(fit_took[1], 2),
    }
    return CachedResult(swept.heads.cpu().eval(), swept.chosen, facts)


def _clocks() -> tuple[float, float]:
    """Wall-clock time, and processor time of this process; on a busy machine only the latter is comparable."""
    return time.perf_counter(), time.process_time()


def _cache(
    name: str,
    part: Subset,
    shape: CacheShape,
    config: DenseFit,
    views: int,
    features: FrozenFeatures,
    maker: ViewMaker,
    runtime: Runtime,
) -> FeatureCache:
    key = {
        "features": features.fingerprint(),
        "encoder": config.features.encoder,
        "data": config.data,
        "of": [config.limit, config.held_out],
        "views": repr(maker),
        "passes": views if name == "training" else 0,
        "seed": config.seed,
    }
    with shown(runtime, f"encoding {name}", shape.views) as report:
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
            progress=lambda done, _: report(done),
            say=runtime.say,
        )

"""Fit heads with several learning rates on one cache and choose among them; widen the sweep if the best is at its edge.

All heads see the same pixels in the same order. If the best of the default rates is the smallest or the largest, three
more beyond it are fitted, at most twice. Rates given by the user are not extended; if the best one is at their edge,
the record says so.
"""

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from codistill.data.permutation import keys_of, permute
from codistill.data.randomness import generator
from codistill.errors import DataError
from codistill.files.config import config_hash
from codistill.files.writing import make_directory
from codistill.nn.seeded import seeded
from codistill.tasks.dense.cache import FeatureCache
from codistill.tasks.dense.cached_task import CachedTask, sample_pixels
from codistill.tasks.dense.config import DenseFit
from codistill.tasks.shared.batched_fit import FitPlan, HeadsAdamW, fit_heads
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.loading import PIXELS
from codistill.tasks.shared.progress import duration, shown

EXTENSIONS, MORE = 2, 3
"""How often a sweep is widened at most, and by how many rates each time."""
_SCORED_PIXELS = 4096
_MEASURED = 3
"""Number of steps that are timed before a fit."""


@dataclass(frozen=True)
class RateSweep:
    """Fitted heads, and the choice among them.

    Attributes:
        heads: the batch of heads with the best one, in evaluation mode. chosen: its index there. rate: its learning
            rate.
        scores: scores on the held-out images by learning rate, in rising order.
        edge: `smallest` or `largest` if the best rate is the smallest or largest of all tried, else "".
    """

    heads: Any
    chosen: int
    rate: float
    scores: dict[float, float]
    edge: str


def sweep_rates(
    task: CachedTask,
    config: DenseFit,
    steps: int,
    training: FeatureCache,
    held_out: FeatureCache,
    runtime: Runtime,
) -> RateSweep:
    """Fit one head per learning rate and choose the best; the same call resumes.

    Raises:
        CheckpointError: see `fit_heads`.
        DataError: if no head has a score.
    """
    extendable = len(config.learning_rates) > 1 and config.learning_rates == type(config).learning_rates
    scores: dict[float, float] = {}
    best: tuple[float, Any, int, float] | None = None
    rates: Sequence[float] = config.learning_rates
    edge = ""
    for round_number in range(1 + (EXTENSIONS if extendable else 0)):
        heads = _fitted(task, replace(config, learning_rates=tuple(rates)), steps, training, runtime)
        found = _scores(task, heads, held_out, config.seed, runtime.device)
        if np.isnan(found).all() and best is None:
            raise DataError(
                f"no head has a {task.score_name} on the held-out images: none of them has a labelled pixel, or the "
                "fit ran away. Look at the labels of the training split, or name smaller ones (--learning-rates)."
            )
        for index, (rate, score) in enumerate(zip(rates, found.tolist(), strict=True)):
            scores[rate] = score
            worth = -np.inf if np.isnan(score) else score if task.higher_is_better else -score
            if best is None or worth > best[0]:
                best = (worth, heads, index, rate)
        assert best is not None
        edge = edge_of(best[3], scores)
        if not edge or not extendable:
            break
        if round_number < EXTENSIONS:
            rates = beyond(scores, edge)
            runtime.say(
                f"{best[3]:g} is the {edge} learning rate tried; the sweep continues with "
                f"{', '.join(f'{rate:g}' for rate in rates)}"
            )
    assert best is not None  # every fit has a learning rate
    scores = dict(sorted(scores.items()))
    _comment(task, best[3], scores, edge, runtime)
    return RateSweep(best[1], best[2], best[3], scores, edge)


def edge_of(rate: float, tried: dict[float, float]) -> str:
    """`smallest` or `largest` if the rate is the smallest or largest of several tried, else ""."""
    if len(tried) < 2:
        return ""
    return "smallest" if rate == min(tried) else "largest" if rate == max(tried) else ""


def beyond(tried: dict[float, float], edge: str) -> tuple[float, ...]:
    """More rates beyond an edge, spaced by the ratio of the last two rates there."""
    ordered = sorted(tried, reverse=edge == "smallest")
    ratio = ordered[-1] / ordered[-2]
    return tuple(float(f"{ordered[-1] * ratio**power:.3g}") for power in range(1, MORE + 1))


def _comment(task: CachedTask, rate: float, scores: dict[float, float], edge: str, runtime: Runtime) -> None:
    """Print which head was chosen, and whether a wider search could help."""
    listed = ", ".join(f"{one:g}: {score:.4g}" for one, score in scores.items())
    runtime.say(f"{task.score_name} on held-out images by learning rate: {listed}; chosen: {rate:g}")
    if edge:
        runtime.say(
            f"{rate:g} is the {edge} learning rate tried: others may do better (--learning-rates, or more --steps); "
            "the stored features are used again"
        )


def _fitted(
    task: CachedTask, config: DenseFit, steps: int, cache: FeatureCache, runtime: Runtime
) -> nn.Module:
    """One head per learning rate of the config."""
    with seeded(config.seed):
        heads = task.build(cache.shape.channels + cache.shape.cls_channels, len(config.learning_rates))
    heads.to(runtime.device)
    # The folder's name depends on the inputs: other features or labels start a new fit, even with the same command.
    folder = runtime.cache_folder / f"fit-{config_hash(config)[:12]}-{steps}-{cache.identity[:12]}"
    make_directory(folder)
    optimizer = HeadsAdamW(
        heads, config.learning_rates, weight_decay=config.weight_decay, clip_norm=task.clip_norm
    )
    place = np.arange(config.batch_size)

    def losses(module: nn.Module, step: int) -> Tensor:
        passes, position = np.divmod(place + step * config.batch_size, len(cache))
        views = permute(position, len(cache), keys_of(config.seed, passes))
        rng = generator(config.seed, PIXELS, step)
        return task.losses(module, sample_pixels(cache, views, config.pixels, rng, runtime.device), step)

    _announce(heads, losses, steps, config, folder, runtime)
    plan = FitPlan(factors=task.factors(steps), save_every=max(100, steps // 10))
    with shown(runtime, f"fitting {len(config.learning_rates)} heads", steps, announced=True) as report:
        fit_heads(heads, _counted(losses, report), optimizer, plan, folder)
    return heads.eval()


def _counted(
    losses: Callable[[nn.Module, int], Tensor], report: Callable[[int], None]
) -> Callable[[nn.Module, int], Tensor]:
    def counted(module: nn.Module, step: int) -> Tensor:
        report(step)
        return losses(module, step)

    return counted


def _announce(
    heads: nn.Module,
    losses: Callable[[nn.Module, int], Tensor],
    steps: int,
    config: DenseFit,
    folder: Path,
    runtime: Runtime,
) -> None:
    """Print how long the fit takes, measured on a few steps of a copy, before it starts."""
    trial = copy.deepcopy(heads).train()
    times = []
    for step in range(min(_MEASURED, steps)):
        started = time.perf_counter()
        losses(trial, step).sum().backward()
        if runtime.device.type == "cuda":
            torch.cuda.synchronize(runtime.device)
        times.append(time.perf_counter() - started)
    left = " at most, since it was begun before" if any(folder.iterdir()) else ""
    runtime.say(
        f"fitting {len(config.learning_rates)} heads, {steps} steps of {config.batch_size} views and {config.pixels} "
        f"pixels: about {duration(min(times) * steps)}{left}"
    )


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

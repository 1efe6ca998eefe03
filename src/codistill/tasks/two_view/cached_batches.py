"""Make training batches from cached tokens; (seed, step, slot) alone decide the view in a slot."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch

from codistill.data.permutation import keys_of, permute
from codistill.data.randomness import Purpose
from codistill.tasks.two_view.batches import PairBatch, matches_generator, pair_truth, stacked_truth
from codistill.tasks.two_view.token_cache import TokenCache

_ORDER = Purpose.PAIR_ORDER


def cached_batches(
    cache: TokenCache, *, batch_size: int, total_steps: int, seed: int, matches: int
) -> Callable[[int], Iterable[PairBatch]]:
    """The engine's training batches, as a function of the start step.

    Args:
        cache: each of its views is used once per pass; every pass has its own random order.
        batch_size: pairs per step.
        total_steps: steps of the run.
        seed: seed of every random draw.
        matches: correspondences per pair, drawn again in each step.
    """

    def from_step(start: int) -> Iterator[PairBatch]:
        for step in range(start, total_steps):
            passes, position = np.divmod(np.arange(batch_size) + step * batch_size, len(cache))
            views = permute(position, len(cache), keys_of(seed, _ORDER, passes))
            yield cached_batch(cache, views, seed=seed, step=step, matches=matches)

    return from_step


def cached_batch(cache: TokenCache, views: np.ndarray, *, seed: int, step: int, matches: int) -> PairBatch:
    """Make a batch of chosen views."""
    tokens = cache.tokens(views)
    truths = [
        pair_truth(*cache.truth(int(view)), matches, matches_generator(seed, step, slot))
        for slot, view in enumerate(views)
    ]
    truth1, truth2 = stacked_truth(truths)
    count = len(views)
    return PairBatch(
        torch.empty(2 * count, 3, 0, 0),
        ("3d",) * count,
        ("",) * count,
        tuple(f"view {view}" for view in views),
        tokens=torch.cat((tokens[:, 0], tokens[:, 1])),
        grid=cache.shape.grid,
        truth1=truth1,
        truth2=truth2,
    )

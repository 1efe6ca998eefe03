"""The image in each slot of each step: a pure function of (seed, step), the same for any world size.

Slots are counted over all steps. The mixture's pattern assigns a group to each slot. The slot's image is the p-th draw
from that group, and p determines the pass over the group and the position within the pass. Each pass has another random
order. A smaller group starts its next pass sooner.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from codistill.data.mixing import MixConfig, SourceSize, mixture_of
from codistill.data.permutation import keys_of, permute
from codistill.data.randomness import REPLACE, generator
from codistill.errors import ConfigError


@dataclass(frozen=True)
class Slots:
    """Images in some slots of one step.

    Attributes:
        step: 0-based.
        slot: places in the step's global batch, int64.
        source: for each slot, the index of its source, int64.
        item: for each slot, the index of the image in its source, int64.
    """

    step: int
    slot: np.ndarray
    source: np.ndarray
    item: np.ndarray

    def __len__(self) -> int:
        return len(self.slot)


class MixingSampler:
    """Maps a step to the images of its global batch.

    Args:
        sources: names, domains and lengths.
        mix: how the sources share a step.
        batch_size: slots of a step over all ranks.
        seed: of the run.

    Raises:
        ConfigError, DataError: see `mixture_of`.
    """

    def __init__(self, sources: Sequence[SourceSize], mix: MixConfig, batch_size: int, seed: int) -> None:
        if batch_size < 1:
            raise ConfigError(f"batch_size must be positive; got {batch_size}")
        self.sources = tuple(sources)
        self.batch_size = batch_size
        self.seed = seed
        mixture = mixture_of(sources, mix, batch_size)
        self._groups = [np.array(group) for group in mixture.groups]
        self._ends = [np.cumsum([sources[i].length for i in group]) for group in mixture.groups]
        self._pattern = mixture.pattern
        self._per_period = np.bincount(mixture.pattern, minlength=len(mixture.groups))
        before = np.zeros(len(mixture.pattern), dtype=np.int64)
        for group in range(len(mixture.groups)):
            mine = mixture.pattern == group
            before[mine] = np.arange(mine.sum())  # draws of the same group earlier in the period
        self._before = before

    @property
    def epoch_steps(self) -> int:
        """Number of steps after which every image was seen at least once: a pass over the group that takes longest."""
        per_step = self._per_period * (self.batch_size / len(self._pattern))
        return max(math.ceil(int(ends[-1]) / n) for ends, n in zip(self._ends, per_step, strict=True))

    def slots(self, step: int, rank: int = 0, world_size: int = 1, images: int | None = None) -> Slots:
        """Return the slots rank, rank + world_size, ... of a step, in time proportional to their number.

        With fewer `images` than slots, only that many slots are used. They are evenly spread, so that groups keep their
        shares.
        """
        slot = np.arange(self.batch_size if images is None else images, dtype=np.int64)[rank::world_size]
        slot = slot if images is None else slot * self.batch_size // images  # evenly spread
        period, place = np.divmod(slot + step * self.batch_size, len(self._pattern))
        groups = self._pattern[place]  # (slot,)
        draw = period * self._per_period[groups] + self._before[place]  # p in the module docstring
        source, item = np.empty_like(slot), np.empty_like(slot)  # (slot,), filled group by group
        for group in np.unique(groups):
            mine = groups == group
            size = int(self._ends[group][-1])
            passes, position = np.divmod(draw[mine], size)  # each pass has another order
            chosen = permute(position, size, keys_of(self.seed, int(group), passes))
            source[mine], item[mine] = self._locate(int(group), chosen)
        return Slots(step, slot, source, item)

    def _locate(self, group: int, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find source and item for an index into the concatenated sources of a group."""
        ends = self._ends[group]
        which = np.searchsorted(ends, index, side="right")
        starts = ends - np.array([self.sources[i].length for i in self._groups[group]])
        return self._groups[group][which], index - starts[which]


def replacement(
    sources: Sequence[SourceSize], domain: str, seed: int, step: int, slot: int, attempt: int
) -> tuple[int, int]:
    """Draw (source, item) to replace a bad image: any image of the same domain, by (seed, step, slot, attempt)."""
    candidates = [index for index, source in enumerate(sources) if source.domain == domain]
    ends = np.cumsum([sources[index].length for index in candidates])
    draw = int(generator(seed, REPLACE, step, slot, attempt).integers(ends[-1]))
    which = int(np.searchsorted(ends, draw, side="right"))
    return candidates[which], draw - int(ends[which] - sources[candidates[which]].length)

"""How sources share a step: the group of images from which each slot of the global batch is drawn.

`balanced` gives every domain the same number of slots, in blocks (DUNE: teacher-balanced batches). `proportional`
treats all images as one group. `weighted` follows given weights. Each is a pattern of groups that repeats over all
slots.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from codistill.errors import ConfigError, DataError, unknown_name

_WEIGHTED_PERIOD = 1 << 16
MODES = ("balanced", "proportional", "weighted")


@dataclass(frozen=True, kw_only=True)
class MixConfig:
    """How sources are mixed.

    Attributes:
        mode: `balanced`: equal parts of every domain; `proportional`: every image equally often; `weighted`: by
            `weights`.
        weights: for `weighted`, pairs (domain or source, weight). Weights need not sum to 1; their precision is one
            part in 65536.
    """

    mode: Literal["balanced", "proportional", "weighted"] = "balanced"
    weights: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ConfigError(unknown_name("mix mode", str(self.mode), MODES))
        if (self.mode == "weighted") != bool(self.weights):
            raise ConfigError(
                f"weights belong to mode 'weighted' and to no other; got mode {self.mode!r} and weights {self.weights}"
            )
        names = [name for name, _ in self.weights]
        if len(set(names)) != len(names):
            raise ConfigError(f"a name has two weights: {names}")
        wrong = [pair for pair in self.weights if not 0 < pair[1] < float("inf")]
        if wrong:
            raise ConfigError(
                f"weights must be positive; got {wrong}. Leave a source out to give it no weight."
            )


@dataclass(frozen=True)
class SourceSize:
    """A source's name, domain and number of images."""

    name: str
    domain: str
    length: int


@dataclass(frozen=True)
class Mixture:
    """Groups of sources, and the pattern in which slots draw from them.

    Attributes:
        groups: for each group, the indices of its sources.
        pattern: for each slot of a period, its group; the period repeats along all slots of all steps.
    """

    groups: tuple[tuple[int, ...], ...]
    pattern: np.ndarray


def mixture_of(sources: Sequence[SourceSize], mix: MixConfig, batch_size: int) -> Mixture:
    """Return the groups and the pattern for a global batch of `batch_size` slots.

    Raises:
        ConfigError: for a weight of an unknown name, a source without a weight, or fewer slots than domains.
        DataError: if there are no sources or one has no images.
    """
    if not sources:
        raise DataError("there are no sources; give at least one")
    empty = [source.name for source in sources if source.length < 1]
    if empty:
        raise DataError(f"sources without images: {', '.join(empty)}")
    if mix.mode == "proportional":
        return Mixture((tuple(range(len(sources))),), np.zeros(1, dtype=np.int64))
    if mix.mode == "balanced":
        return _balanced(sources, batch_size)
    return _weighted(sources, mix)


def _balanced(sources: Sequence[SourceSize], batch_size: int) -> Mixture:
    domains = list(dict.fromkeys(source.domain for source in sources))
    if batch_size < len(domains):
        raise ConfigError(
            f"a balanced batch of {batch_size} cannot hold the {len(domains)} domains {', '.join(domains)}; "
            f"use a batch of {len(domains)} or more"
        )
    groups = tuple(tuple(i for i, source in enumerate(sources) if source.domain == d) for d in domains)
    counts = np.full(len(domains), -(-batch_size // len(domains)))  # the last domain gets the rest
    counts[-1] = batch_size - counts[:-1].sum()
    if counts[-1] < 1:  # the published rule would leave a domain out of a small batch
        counts = np.full(len(domains), batch_size // len(domains))
        counts[: batch_size % len(domains)] += 1
    return Mixture(groups, np.repeat(np.arange(len(domains)), counts))


def _weighted(sources: Sequence[SourceSize], mix: MixConfig) -> Mixture:
    names, domains = [s.name for s in sources], [s.domain for s in sources]
    groups: list[tuple[int, ...]] = []
    for name, _ in mix.weights:
        if name not in names and name not in domains:
            raise ConfigError(unknown_name("source or domain in the mix weights", name, {*names, *domains}))
        groups.append(tuple(i for i in range(len(names)) if name == names[i] or name == domains[i]))
    times = [sum(i in group for group in groups) for i in range(len(names))]
    wrong = [name for name, count in zip(names, times, strict=True) if count != 1]
    if wrong:
        raise ConfigError(
            f"every source needs exactly one weight, its own or its domain's; not so for {', '.join(wrong)}"
        )
    shares = np.array([weight for _, weight in mix.weights], dtype=np.float64)
    counts = np.maximum(1, np.rint(shares / shares.sum() * _WEIGHTED_PERIOD).astype(np.int64))
    counts[counts.argmax()] += _WEIGHTED_PERIOD - counts.sum()  # rounding errors go to the largest group
    # Each group's slots are spread evenly over the period, so each step has its share up to one or two slots.
    places = np.concatenate([(np.arange(count) + 0.5) / count for count in counts])
    owners = np.repeat(np.arange(len(counts)), counts)
    return Mixture(tuple(groups), owners[np.argsort(places, kind="stable")])

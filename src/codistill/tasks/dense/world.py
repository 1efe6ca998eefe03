"""Samples of the embedded world as images with dense ground truth of any kind."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from codistill.tasks.shared.data import DenseSample
from codistill.tasks.shared.groups import Groups
from codistill.tasks.shared.inputs import SampleInputs
from codistill.world.dataset import World, WorldDataset


@dataclass(frozen=True)
class WorldSamples:
    """Samples of a split.

    Attributes:
        samples: a data set of the world.
        target: given a sample, returns its dense ground truth (a module-level function, since workers pickle it).
    """

    samples: WorldDataset[Any]
    target: Callable[[Any], np.ndarray]

    @property
    def groups(self) -> Groups:
        """One group per scene, since a room has two views."""
        return Groups(self.samples.scenes(), "scenes")

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> DenseSample:
        sample = self.samples[index]
        return DenseSample(sample.image.numpy(), self.target(sample), sample.name)

    def inputs_of(self, index: int) -> SampleInputs:
        """The sample's shard, and its index in the shard."""
        return self.samples.inputs_of(index)


def world_surfaces(world: World, split: str, target: Callable[[Any], np.ndarray]) -> WorldSamples:
    """Samples of the domains with surfaces, rooms and objects, as far as the world has them."""
    domains = tuple(domain for domain in ("rooms", "objects") if domain in world.domains)
    return WorldSamples(world.depth(split, domains or ("rooms",)), target)

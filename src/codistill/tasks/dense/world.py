"""The embedded world's samples as images with a value for every pixel, whatever the value."""

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
        samples: as the world gives them.
        target: what is to be told of one (a function of a module, so that workers get it).
    """

    samples: WorldDataset[Any]
    target: Callable[[Any], np.ndarray]

    @property
    def groups(self) -> Groups:
        """Scenes: of a room there are two views."""
        return Groups(self.samples.scenes(), "scenes")

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> DenseSample:
        sample = self.samples[index]
        return DenseSample(sample.image.numpy(), self.target(sample), sample.name)

    def inputs_of(self, index: int) -> SampleInputs:
        """The sample's shard, and which of it."""
        return self.samples.inputs_of(index)


def world_surfaces(world: World, split: str, target: Callable[[Any], np.ndarray]) -> WorldSamples:
    """Rooms and objects, of which surfaces can be learnt, as far as the world has them."""
    domains = tuple(domain for domain in ("rooms", "objects") if domain in world.domains)
    return WorldSamples(world.depth(split, domains or ("rooms",)), target)

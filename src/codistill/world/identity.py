"""A scene's identity (seed, domain, split, index), which alone determines its random numbers."""

import re
from dataclasses import dataclass

import numpy as np

from codistill.errors import ConfigError, unknown_name

DOMAINS = ("objects", "rooms", "people")
"""The world's domains. For teachers they correspond to the domains `generic`, `3d` and `human`."""

DATA_DOMAIN = {"objects": "generic", "rooms": "3d", "people": "human"}

SPLITS = ("train", "val", "test")

VIEWS = {"objects": 1, "rooms": 2, "people": 1}
"""Number of pictures per scene, by domain."""

SCENE = r"(?:objects|rooms|people)-(?:train|val|test)-\d+"
"""Matches the scene in a picture's name, see `SceneId.key`."""


def scene_of(name: str) -> str:
    """The scene of a picture, from its name, e.g. `rooms-train-0000012` for both views."""
    found = re.search(SCENE, name)
    return found.group() if found else name


@dataclass(frozen=True, kw_only=True)
class SceneId:
    """Identity of a scene.

    Attributes:
        seed: seed of the world.
        domain: `objects`, `rooms` or `people`.
        split: `train`, `val` or `test`; their random numbers are disjoint.
        index: index of the scene in its split.
    """

    seed: int
    domain: str
    split: str
    index: int

    def __post_init__(self) -> None:
        if self.domain not in DOMAINS:
            raise ConfigError(unknown_name("domain", self.domain, DOMAINS))
        if self.split not in SPLITS:
            raise ConfigError(unknown_name("split", self.split, SPLITS))
        if self.index < 0 or self.seed < 0:
            raise ConfigError(f"seed and index must not be negative; got {self.seed} and {self.index}")

    def rng(self, stream: int = 0) -> np.random.Generator:
        """Random generator of this scene: stream 0 is for composing it, stream 1 + view for rendering a view."""
        place = (DOMAINS.index(self.domain), SPLITS.index(self.split))
        return np.random.default_rng([self.seed, *place, self.index, stream])

    def key(self, view: int = 0) -> str:
        """Name of a picture in its shard, e.g. `objects-train-0000012`; pairs end in `-a` and `-b`."""
        suffix = f"-{'ab'[view]}" if VIEWS[self.domain] > 1 else ""
        return f"{self.domain}-{self.split}-{self.index:07d}{suffix}"

    def novel(self, rng: np.random.Generator) -> bool:
        """Draw whether the next thing is of a kind held out from training; half are, in the test split only."""
        return bool(self.split == "test" and rng.random() < 0.5)

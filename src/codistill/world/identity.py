"""A scene's identity (seed, domain, split, index), and its random numbers, which follow from nothing else."""

import re
from dataclasses import dataclass

import numpy as np

from codistill.errors import ConfigError, unknown_name

DOMAINS = ("objects", "rooms", "people")
"""The world's domains. To the teachers they are `generic`, `3d` and `human`."""

DATA_DOMAIN = {"objects": "generic", "rooms": "3d", "people": "human"}

SPLITS = ("train", "val", "test")

VIEWS = {"objects": 1, "rooms": 2, "people": 1}
"""Pictures per scene."""

SCENE = r"(?:objects|rooms|people)-(?:train|val|test)-\d+"
"""In a picture's name, its scene: see `SceneId.key`."""


def scene_of(name: str) -> str:
    """The scene of a picture, by its name: `rooms-train-0000012` for both of its views."""
    found = re.search(SCENE, name)
    return found.group() if found else name


@dataclass(frozen=True, kw_only=True)
class SceneId:
    """Names a scene.

    Attributes:
        seed: of the world.
        domain: `objects`, `rooms` or `people`.
        split: `train`, `val` or `test`; their random numbers are disjoint.
        index: number of the scene in its split.
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
        """Random numbers of this scene: stream 0 composes it, 1 + view renders a view."""
        place = (DOMAINS.index(self.domain), SPLITS.index(self.split))
        return np.random.default_rng([self.seed, *place, self.index, stream])

    def key(self, view: int = 0) -> str:
        """Name of a picture in its shard: `objects-train-0000012`, with `-a` and `-b` for pairs."""
        suffix = f"-{'ab'[view]}" if VIEWS[self.domain] > 1 else ""
        return f"{self.domain}-{self.split}-{self.index:07d}{suffix}"

    def novel(self, rng: np.random.Generator) -> bool:
        """Whether the next thing is of a kind kept from training: half of them, in the test split only."""
        return bool(self.split == "test" and rng.random() < 0.5)

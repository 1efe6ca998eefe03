"""What a category gives: named parts, and the choice between styles that training shows and those it never does."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from codistill.render.mesh import Mesh

Part = tuple[str, Mesh]
"""(slot, mesh): parts with the same slot of one thing share a material. Slots: body, trim, detail, extra."""

Style = TypeVar("Style")


def choose(rng: np.random.Generator, novel: bool, seen: Sequence[Style], unseen: Sequence[Style]) -> Style:
    """One of the styles: from `unseen` when the thing must be new to a model trained on the world."""
    options = unseen if novel and unseen else seen
    return options[int(rng.integers(len(options)))]


def chance(rng: np.random.Generator, probability: float) -> bool:
    """True with the given probability."""
    return bool(rng.random() < probability)

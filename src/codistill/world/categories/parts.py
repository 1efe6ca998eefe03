"""Named parts, which a category's function returns, and the choice between training styles and novel styles."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from codistill.render.mesh import Mesh

Part = tuple[str, Mesh]
"""(slot, mesh). Parts of one thing with the same slot share a material. Slots: body, trim, detail, extra."""

Style = TypeVar("Style")


def choose(rng: np.random.Generator, novel: bool, seen: Sequence[Style], unseen: Sequence[Style]) -> Style:
    """Choose a style: from `unseen` if `novel`, for things that training must never show, else from `seen`."""
    options = unseen if novel and unseen else seen
    return options[int(rng.integers(len(options)))]


def chance(rng: np.random.Generator, probability: float) -> bool:
    """True with the given probability."""
    return bool(rng.random() < probability)


def rounded(profile: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """A smooth curve through the points of a profile (Catmull-Rom)."""
    points = np.asarray(profile)
    padded = np.concatenate([points[:1], points, points[-1:]])
    out = []
    for i in range(len(points) - 1):
        p0, p1, p2, p3 = padded[i : i + 4]
        for t in np.linspace(0, 1, 7)[:-1]:
            out.append(
                0.5
                * (
                    2 * p1
                    + (p2 - p0) * t
                    + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2
                    + (3 * p1 - p0 - 3 * p2 + p3) * t**3
                )
            )
    out.append(points[-1])
    return [(max(float(r), 0.0), float(z)) for r, z in out]

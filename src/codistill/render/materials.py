"""Appearance of a surface: two colours mixed by a procedural pattern, and how it reflects light.

Colours are linear RGB reflectances in [0, 1]; lengths are metres in the object's own coordinates, so that a texture
moves with its object.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from codistill.errors import ConfigError, unknown_name
from codistill.render.patterns import PATTERNS

Color = tuple[float, float, float]


def _identity() -> NDArray[np.float32]:
    return np.eye(3, dtype=np.float32)


@dataclass(frozen=True, kw_only=True)
class Material:
    """Appearance of one surface.

    Attributes:
        pattern: name of a texture family, see `PATTERNS`.
        first, second: the two colours that the pattern mixes.
        scale: metres of one period of the pattern.
        rotation, offset: (3, 3) and (3,), rotation and position of the pattern on the object.
        variation: strength of the light and dark mottling over the pattern.
        gloss: strength of the highlight, 0 (chalk) to 1 (lacquer).
        shininess: exponent of the highlight.
        mirror: share of mirror reflection at normal incidence; it grows at grazing angles.
        metal: whether the mirror reflection is tinted by the surface's colour.
        bump: strength of the fine relief.
        emission: emitted light, as a multiple of the colour.
    """

    first: Color
    second: Color | None = None
    pattern: str = "plain"
    scale: float = 0.1
    rotation: NDArray[np.float32] = field(default_factory=_identity)
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    variation: float = 0.1
    gloss: float = 0.15
    shininess: float = 30.0
    mirror: float = 0.0
    metal: bool = False
    bump: float = 0.0
    emission: float = 0.0

    def __post_init__(self) -> None:
        if self.pattern not in PATTERNS:
            raise ConfigError(unknown_name("pattern", self.pattern, PATTERNS))
        if self.scale <= 0:
            raise ConfigError(f"scale must be positive metres; got {self.scale}")

    @property
    def mean_color(self) -> Color:
        """The mean colour, which is seen from far away."""
        second = self.second or self.first
        share = PATTERNS[self.pattern].mean
        first_part = np.asarray(self.first) * (1 - share)
        mixed = first_part + np.asarray(second) * share
        return (float(mixed[0]), float(mixed[1]), float(mixed[2]))

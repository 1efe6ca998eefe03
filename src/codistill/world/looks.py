"""Draw colours and materials, independently of the category, so that colour does not tell the class.

One palette is drawn per scene. Every thing in it draws its materials from that palette, and from all finishes and
texture families alike.
"""

import colorsys
from dataclasses import dataclass

import numpy as np

from codistill.render.materials import Color, Material
from codistill.render.patterns import PATTERNS
from codistill.world.categories.parts import choose
from codistill.world.shapes import rotation

SEEN_PATTERNS = tuple(
    n for n, p in PATTERNS.items() if not p.held_out and n not in ("plain", "grass", "plaster")
)
UNSEEN_PATTERNS = tuple(n for n, p in PATTERNS.items() if p.held_out)

FINISHES: dict[str, dict[str, tuple[float, float]]] = {
    "matte": {"gloss": (0.0, 0.05), "shininess": (8, 15), "mirror": (0, 0), "bump": (0.0, 0.12)},
    "satin": {"gloss": (0.08, 0.22), "shininess": (20, 50), "mirror": (0, 0), "bump": (0.0, 0.05)},
    "glossy": {"gloss": (0.3, 0.6), "shininess": (80, 200), "mirror": (0.03, 0.06), "bump": (0, 0)},
    "lacquer": {"gloss": (0.4, 0.8), "shininess": (150, 300), "mirror": (0.05, 0.12), "bump": (0, 0)},
    "metal": {"gloss": (0.4, 0.8), "shininess": (60, 200), "mirror": (0.35, 0.6), "bump": (0, 0)},
}
FINISH_ODDS = (0.34, 0.3, 0.18, 0.1, 0.08)


def linear(srgb: Color) -> Color:
    """Linear reflectance of an sRGB colour in [0, 1]."""
    r, g, b = (min(max(c, 0.0), 1.0) ** 2.2 for c in srgb)
    return (r, g, b)


@dataclass(frozen=True)
class Palette:
    """A few harmonious hues, and their saturation.

    Attributes:
        hues: hues in [0, 1), which are close or opposite to one base hue.
        saturation: typical saturation of the scene.
    """

    hues: tuple[float, ...]
    saturation: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Palette":
        """Draw a harmony around a random hue: analogous, complementary, triadic or free."""
        natural = rng.random() < 0.45
        base = (
            float(rng.choice([0.06, 0.09, 0.12, 0.3, 0.55, 0.6]) + rng.normal(0, 0.03))
            if natural
            else rng.random()
        )
        offsets = (
            (0.0, 0.08, -0.08, 0.5, 0.58),
            (0.0, 0.5, 0.06, 0.54, 0.25),
            (0.0, 0.33, 0.66, 0.08, 0.4),
            tuple(rng.random(5)),
            tuple(rng.random(6)),
        )[int(rng.integers(5))]
        return cls(
            tuple(float((base + o) % 1.0) for o in offsets),
            float(rng.uniform(0.2, 0.45) if natural else rng.uniform(0.3, 0.7)),
        )

    def color(self, rng: np.random.Generator, value: tuple[float, float] = (0.25, 0.95)) -> Color:
        """Draw a linear colour: a hue of the palette, or sometimes a neutral colour."""
        # Plain floats, because this is called about five hundred times per scene.
        hue = self.hues[int(rng.integers(len(self.hues)))] + 0.015 * rng.standard_normal()
        saturation = min(self.saturation * (0.5 + 0.8 * rng.random()), 0.95)
        if rng.random() < 0.22:
            saturation *= 0.15
        bright = value[0] + (value[1] - value[0]) * rng.random()
        return linear(colorsys.hsv_to_rgb(hue % 1.0, saturation, bright))


def contrasting(rng: np.random.Generator, palette: Palette, other: Color) -> Color:
    """Draw a colour of the palette that contrasts with `other`."""
    r, g, b = (c**0.5 for c in other)

    def distance(color: Color) -> float:
        return abs(color[0] ** 0.5 - r) + abs(color[1] ** 0.5 - g) + abs(color[2] ** 0.5 - b)

    return max((palette.color(rng) for _ in range(7)), key=distance)


def draw_material(
    rng: np.random.Generator, palette: Palette, size: float, novel: bool = False, against: Color | None = None
) -> Material:
    """Draw a material for a thing of about `size` metres.

    Args:
        novel: use the texture families that training never shows.
        against: a colour with which this one must contrast.
    """
    first = palette.color(rng) if against is None else contrasting(rng, palette, against)
    finish = FINISHES[str(rng.choice(list(FINISHES), p=FINISH_ODDS))]
    values = {name: float(rng.uniform(*limits)) for name, limits in finish.items()}
    patterned = rng.random() < 0.5
    pattern = choose(rng, novel, SEEN_PATTERNS, UNSEEN_PATTERNS) if patterned else "plain"
    turn = rotation("z", rng.uniform(0, 360)) @ rotation("x", rng.choice([0, 0, 90, rng.uniform(0, 90)]))
    return Material(
        first=first,
        second=contrasting(rng, palette, first) if patterned else None,
        pattern=pattern,
        scale=float(size * np.exp(rng.uniform(np.log(0.06), np.log(0.25)))),
        rotation=turn.astype(np.float32),
        offset=(rng.uniform(0, 7), rng.uniform(0, 7), rng.uniform(0, 7)),
        variation=float(rng.uniform(0.05, 0.3)),
        metal=finish is FINISHES["metal"],
        **values,
    )


def special_materials(rng: np.random.Generator, palette: Palette, size: float) -> dict[str, Material]:
    """Materials of slots whose appearance is determined by their function: glass, tyres, screens, shades and bulbs."""
    tint = palette.color(rng, (0.05, 0.3))
    shade = palette.color(rng, (0.6, 0.95))
    dark = float(rng.uniform(0.01, 0.06))
    return {
        "glass": Material(first=tint, gloss=0.8, shininess=200, mirror=0.22, variation=0),
        "tyre": Material(first=(dark, dark, dark), gloss=0.1, shininess=15, variation=0.2, scale=0.05),
        "screen": Material(
            first=palette.color(rng, (0.1, 0.9)), gloss=0.4, shininess=150, mirror=0.05, emission=0.25
        ),
        "light": Material(first=shade, gloss=0.0, emission=float(rng.uniform(0.3, 1.2)), variation=0.05),
        "bulb": Material(first=(1.0, 0.93, 0.8), emission=6.0, variation=0),
        "sail": Material(
            first=shade,
            second=contrasting(rng, palette, shade),
            pattern="stripes",
            scale=0.2 * size,
            gloss=0.02,
        ),
    }

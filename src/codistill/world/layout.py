"""Place things on a plane so that their footprints do not overlap."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codistill.world.things import Thing, place


@dataclass(frozen=True)
class Footprint:
    """A rectangle on the ground, with centre (2,), half sizes (2,), and angle in degrees."""

    center: NDArray[np.float64]
    half: NDArray[np.float64]
    turn: float

    def axes(self) -> NDArray[np.float64]:
        """Unit vectors (2, 2) along the sides, as rows."""
        c, s = np.cos(np.radians(self.turn)), np.sin(np.radians(self.turn))
        return np.array([[c, s], [-s, c]])

    def overlaps(self, other: "Footprint", gap: float = 0.0) -> bool:
        """Whether two rectangles are closer than `gap` metres (separating-axis test)."""
        between = other.center - self.center
        far = float(np.hypot(*self.half) + np.hypot(*other.half)) + gap
        if float(between @ between) > far * far:
            return False
        axes = np.concatenate([self.axes(), other.axes()])
        reach = np.abs(axes @ self.axes().T) @ self.half + np.abs(axes @ other.axes().T) @ other.half
        return bool((np.abs(axes @ between) <= reach + gap).all())


@dataclass(frozen=True)
class Placed:
    """A placed thing, with its pose (4, 4) and footprint."""

    thing: Thing
    pose: NDArray[np.float64]
    footprint: Footprint


def footprint(thing: Thing, x: float, y: float, turn: float) -> Footprint:
    """Footprint of a thing whose z axis is at (x, y)."""
    low, high = thing.low, thing.high
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    middle = np.array([[c, -s], [s, c]]) @ ((low + high) / 2)
    return Footprint(np.array([x, y]) + middle, (high - low).astype(np.float64) / 2, turn)


def try_place(
    thing: Thing, x: float, y: float, z: float, turn: float, taken: list[Footprint], gap: float
) -> Placed | None:
    """Place a thing at (x, y, z); None if its footprint comes too close to one that is taken."""
    area = footprint(thing, x, y, turn)
    if any(area.overlaps(other, gap) for other in taken):
        return None
    return Placed(thing, place(x, y, z, turn), area)


def scatter(
    things: list[Thing],
    rng: np.random.Generator,
    radius: float,
    z: float,
    gap: float,
    taken: list[Footprint],
    inside: NDArray[np.floating] | None = None,
) -> list[Placed]:
    """Place things at random around the origin, first close to it; things for which there is no room are left out.

    Args:
        radius: scale in metres of the distance from the origin: positions are normally distributed, with a deviation
            that grows from 0.3 to 1.0 times the radius over the tries.
        inside: (2,) half sides of a rectangle that must contain the footprints, or None.
        taken: footprints that must not be touched; those of the placed things are added.
    """
    out: list[Placed] = []
    for thing in things:
        for attempt in range(40):
            reach = radius * (0.5 + 1.2 * attempt / 40)
            x, y = rng.normal(0, 0.6, 2) * reach
            placed = try_place(thing, float(x), float(y), z, float(rng.uniform(0, 360)), taken, gap)
            if placed is None or (inside is not None and not _within(placed.footprint, inside)):
                continue
            taken.append(placed.footprint)
            out.append(placed)
            break
    return out


def _within(area: Footprint, half: NDArray[np.floating]) -> bool:
    reach = np.abs(area.axes().T) @ area.half
    return bool((np.abs(area.center) + reach <= half).all())


def clear_of(points: NDArray[np.floating], areas: list[Footprint], gap: float) -> bool:
    """Whether a point (2,) keeps `gap` metres from all footprints."""
    at = Footprint(np.asarray(points, np.float64), np.array([gap, gap]), 0.0)
    return not any(at.overlaps(area) for area in areas)

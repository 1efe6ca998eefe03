"""The domain `objects`: three to eight things on a table, on a floor or outdoors, with clutter and occlusion."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codistill.render.camera import Camera
from codistill.world.categories import CATEGORIES
from codistill.world.enclosure import room
from codistill.world.identity import SceneId
from codistill.world.layout import Footprint, Placed, clear_of, footprint, scatter, try_place
from codistill.world.looks import Palette
from codistill.world.shot import Shot, assemble, draw_film
from codistill.world.surroundings import Surroundings, open_ground
from codistill.world.things import Thing, build_thing, place


@dataclass(frozen=True)
class Stage:
    """Sizes of a kind of scene, in metres.

    Attributes:
        radius: range of the radius within which things are scattered.
        gap: smallest gap between them.
        toy: range of the largest side of things that appear as toys.
        largest: largest side of any thing.
        elevation: range of the camera's elevation as seen from the middle, in degrees.
        indoor: whether the scene is in a room.
    """

    radius: tuple[float, float]
    gap: float
    toy: tuple[float, float]
    largest: float
    elevation: tuple[float, float]
    indoor: bool


STAGES = {
    "table": Stage((0.16, 0.26), 0.01, (0.14, 0.3), 0.42, (14, 46), True),
    "floor": Stage((0.6, 1.1), 0.05, (0.4, 1.0), 9.0, (10, 38), True),
    "yard": Stage((0.7, 1.4), 0.08, (0.5, 1.2), 9.0, (6, 32), False),
    "street": Stage((2.0, 4.0), 0.25, (1.0, 2.0), 9.0, (4, 22), False),
}
BACKGROUND = {
    True: ("shelf", "sofa", "chair", "plant", "lamp", "bed", "stool", "box", "ladder", "table"),
    False: ("house", "tree", "tree", "windmill", "car", "bench"),
}


def objects_scene(scene_id: SceneId, size: int) -> Shot:
    """Compose one scene of things; `size` is the side of the picture in pixels."""
    rng = scene_id.rng()
    palette = Palette.draw(rng)
    guest = guest_of(scene_id)
    name = str(rng.choice(CATEGORIES[guest].stages))
    stage = STAGES[name]
    novel = scene_id.novel(rng)
    if stage.indoor:
        half = rng.uniform(2.4, 4.0, 2)
        around = room(rng, palette, novel, half, float(rng.uniform(2.5, 3.2)))
    else:
        around = open_ground(rng, palette, novel)
    things = [_draw_thing(scene_id, rng, palette, name) for _ in range(int(rng.integers(2, 8)))]
    things.sort(key=lambda thing: -thing.radius)
    things.insert(0, _draw_thing(scene_id, rng, palette, name, guest))
    radius = float(rng.uniform(*stage.radius))
    if name == "table":
        placed, base = _on_table(scene_id, rng, palette, things, radius, stage.gap)
    else:
        placed, base = scatter(things, rng, radius, 0.0, stage.gap, [], around.half - 0.15), []
    camera = _camera(rng, around, placed, base, stage, size)
    shown = [*placed, *base]
    shown += _background(scene_id, rng, palette, around, shown, camera)
    scene, names = assemble(around, shown, rng)
    return Shot(scene, (camera,), (draw_film(rng),), names, {"stage": name})


def guest_of(scene_id: SceneId) -> str:
    """The category that a scene must show; categories take turns, so that every class occurs in every split."""
    return list(CATEGORIES)[(scene_id.index + scene_id.seed) % len(CATEGORIES)]


def _draw_thing(
    scene_id: SceneId, rng: np.random.Generator, palette: Palette, name: str, category: str | None = None
) -> Thing:
    """Draw a thing of the category if one is given, else a thing of this stage, or sometimes a toy of any category."""
    stage = STAGES[name]
    novel = scene_id.novel(rng)
    toy = category is None and rng.random() < 0.25
    if category is None:
        known = list(CATEGORIES) if toy else [c for c, entry in CATEGORIES.items() if name in entry.stages]
        category = str(rng.choice(known))
    seed = int(rng.integers(2**31))
    thing = build_thing(category, np.random.default_rng(seed), palette, novel)
    largest = float(rng.uniform(*stage.toy)) if toy else stage.largest
    scale = largest / float(thing.size.max())
    if scale < 1.0:
        return build_thing(category, np.random.default_rng(seed), palette, novel, scale)
    return thing


def _on_table(
    scene_id: SceneId,
    rng: np.random.Generator,
    palette: Palette,
    things: list[Thing],
    radius: float,
    gap: float,
) -> tuple[list[Placed], list[Placed]]:
    """Place things on a table; returns the things, and the table."""
    table = build_thing("table", rng, palette, scene_id.novel(rng))
    half = table.size[:2].astype(np.float64) / 2 - 0.02
    placed = scatter(things, rng, radius, float(table.size[2]), gap, [], half * 0.93)
    turn = float(rng.uniform(0, 360))
    rotate = place(0, 0, 0, turn)
    turned = [
        Placed(
            p.thing,
            rotate @ p.pose,
            Footprint(rotate[:2, :2] @ p.footprint.center, p.footprint.half, p.footprint.turn + turn),
        )
        for p in placed
    ]
    return turned, [Placed(table, rotate, footprint(table, 0, 0, turn))]


def _camera(
    rng: np.random.Generator,
    around: Surroundings,
    placed: list[Placed],
    base: list[Placed],
    stage: Stage,
    size: int,
) -> Camera:
    """Draw a camera that frames the placed things, at a free position."""
    fov = float(rng.uniform(36, 56))
    points = np.concatenate([_corners(p) for p in placed])
    target = (points.min(axis=0) + points.max(axis=0)) / 2
    fill = float(rng.uniform(0.75, 1.15))
    areas = [p.footprint for p in placed] if not base else []
    eye = target
    for attempt in range(60):
        turn, rise = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(*stage.elevation))
        towards = np.array([np.cos(turn) * np.cos(rise), np.sin(turn) * np.cos(rise), np.sin(rise)])
        distance = _framing(points - target, towards, np.tan(np.radians(fov / 2)) * fill)
        eye = target + distance * (1 - 0.4 * attempt / 60) * towards
        eye[2] = max(eye[2], 0.2)
        inside = bool((np.abs(eye[:2]) < around.half - 0.2).all()) and eye[2] < around.height - 0.15
        if inside and clear_of(eye[:2], areas, 0.3):
            break
    shift = rng.normal(0, 0.05, 3) * float(np.linalg.norm(eye - target))
    return Camera.looking(eye, target + shift, fov, size, roll=float(rng.normal(0, 2)))


def _corners(placed: Placed) -> NDArray[np.float64]:
    points = np.concatenate([mesh.vertices for _, mesh in placed.thing.parts])
    low, high = points.min(axis=0), points.max(axis=0)
    box = np.array(
        [[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])]
    )
    return box @ placed.pose[:3, :3].T + placed.pose[:3, 3]


def _framing(points: NDArray[np.float64], towards: NDArray[np.float64], slope: float) -> float:
    """Distance along `towards` from which most of the points are within a cone of that slope."""
    along = points @ towards
    across = np.linalg.norm(points - np.outer(along, towards), axis=1)
    return float(np.percentile(along + across / slope, 85))


def _background(
    scene_id: SceneId,
    rng: np.random.Generator,
    palette: Palette,
    around: Surroundings,
    shown: list[Placed],
    camera: Camera,
) -> list[Placed]:
    """Place larger things farther away, behind the scene's main things."""
    out: list[Placed] = []
    taken = [p.footprint for p in shown]
    eye, forward = camera.pose[:2, 3], camera.pose[:2, 2]
    forward = forward / np.linalg.norm(forward)
    side = np.array([-forward[1], forward[0]])
    front = max(float((p.pose[:2, 3] - eye) @ forward) for p in shown)
    for _ in range(int(rng.integers(1, 5))):
        category = str(rng.choice(BACKGROUND[around.indoor]))
        if around.indoor:
            at = rng.uniform(-0.92, 0.92, 2) * around.half
        else:
            away = front + rng.uniform(4, 20)
            at = eye + forward * away + side * rng.uniform(-0.55, 0.55) * away
        if float((at - eye) @ forward) < max(0.9, front * 0.8):
            continue
        thing = build_thing(category, rng, palette, scene_id.novel(rng))
        spot = try_place(thing, float(at[0]), float(at[1]), 0.0, float(rng.uniform(0, 360)), taken, 0.1)
        if spot is None or (around.indoor and outside(spot, around)):
            continue
        taken.append(spot.footprint)
        out.append(spot)
    return out


def outside(spot: Placed, around: Surroundings) -> bool:
    """Whether a placed thing reaches into a wall."""
    reach = np.abs(spot.footprint.axes().T) @ spot.footprint.half
    return bool((np.abs(spot.footprint.center) + reach > around.half - 0.08).any())

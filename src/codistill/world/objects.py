"""The domain `objects`: three to eight things on a table, on a floor or in the open, cluttered and occluding."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codistill.render.camera import Camera
from codistill.world.categories import CATEGORIES
from codistill.world.identity import SceneId
from codistill.world.layout import Footprint, Placed, clear_of, footprint, scatter, try_place
from codistill.world.looks import Palette
from codistill.world.shot import Shot, assemble, draw_film
from codistill.world.surroundings import Surroundings, open_ground, room
from codistill.world.things import Thing, build_thing, place


@dataclass(frozen=True)
class Stage:
    """Sizes of a kind of scene, in metres.

    Attributes:
        radius: within which things are scattered. gap: between them.
        toy: largest side of things that are toys here.
        distance, elevation: of the camera from the middle, metres and degrees.
    """

    radius: tuple[float, float]
    gap: float
    toy: tuple[float, float]
    distance: tuple[float, float]
    elevation: tuple[float, float]


STAGES = {
    "table": Stage((0.22, 0.34), 0.01, (0.14, 0.34), (0.75, 1.2), (12, 48)),
    "floor": Stage((0.9, 1.4), 0.05, (0.4, 1.1), (2.3, 3.4), (10, 40)),
    "outdoor": Stage((2.2, 4.5), 0.25, (0.8, 1.6), (7.0, 12.0), (5, 26)),
}
STAGE_ODDS = (0.36, 0.34, 0.3)


def objects_scene(scene_id: SceneId, size: int) -> Shot:
    """Compose one scene of things; `size` is the side of the picture in pixels."""
    rng = scene_id.rng()
    palette = Palette.draw(rng)
    name = str(rng.choice(list(STAGES), p=STAGE_ODDS))
    stage = STAGES[name]
    novel = scene_id.novel(rng)
    if name == "outdoor":
        around = open_ground(rng, palette, novel, stage.radius[1])
    else:
        half = rng.uniform(2.6, 4.2, 2)
        around = room(rng, palette, novel, half, float(rng.uniform(2.5, 3.2)))
    things = [_draw_thing(scene_id, rng, palette, name) for _ in range(int(rng.integers(3, 9)))]
    things.sort(key=lambda thing: -thing.radius)
    if name == "table":
        placed, target = _on_table(scene_id, rng, palette, things, stage)
    else:
        taken: list[Footprint] = []
        inside = around.half - 0.15
        placed = scatter(things, rng, float(rng.uniform(*stage.radius)), 0.0, stage.gap, taken, inside)
        target = np.mean([p.pose[:3, 3] for p in placed], axis=0)
        target[2] = float(np.median([p.thing.size[2] for p in placed])) * 0.4
    camera = _camera(rng, around, placed, target, stage, size)
    placed += _background(scene_id, rng, palette, around, placed, camera, name)
    scene, names = assemble(around, placed, rng)
    return Shot(scene, (camera,), (draw_film(rng),), names, {"stage": name})


def _draw_thing(scene_id: SceneId, rng: np.random.Generator, palette: Palette, stage: str) -> Thing:
    """A thing that belongs here, or now and then a toy of any kind."""
    novel = scene_id.novel(rng)
    if stage != "outdoor" and rng.random() < 0.25:
        category = str(rng.choice(list(CATEGORIES)))
        thing = build_thing(category, rng, palette, novel)
        limits = STAGES[stage].toy
        scale = float(rng.uniform(*limits)) / float(thing.size.max())
        if scale < 1.0:
            seed = rng.integers(2**31)
            return build_thing(category, np.random.default_rng(seed), palette, novel, scale)
        return thing
    own = [c for c, entry in CATEGORIES.items() if stage in entry.stages]
    thing = build_thing(str(rng.choice(own)), rng, palette, novel)
    while stage == "table" and float(thing.size.max()) > 0.65:
        thing = build_thing(str(rng.choice(own)), rng, palette, novel)
    return thing


def _on_table(
    scene_id: SceneId, rng: np.random.Generator, palette: Palette, things: list[Thing], stage: Stage
) -> tuple[list[Placed], NDArray[np.float64]]:
    """A table with the things on it; the table is the last of the list."""
    table = build_thing("table", rng, palette, scene_id.novel(rng))
    half = table.size[:2].astype(np.float64) / 2 - 0.03
    if float(half.min()) < 0.3:
        half = half * 1.0
    top = float(table.size[2])
    placed = scatter(things, rng, float(rng.uniform(*stage.radius)), top, stage.gap, [], half * 0.93)
    target = np.zeros(3) if not placed else np.mean([p.pose[:3, 3] for p in placed], axis=0)
    target[2] = top + 0.07
    turn = float(rng.uniform(0, 360))
    rotate = place(0, 0, 0, turn)
    turned = [
        Placed(p.thing, rotate @ p.pose, Footprint(rotate[:2, :2] @ p.footprint.center, p.footprint.half, p.footprint.turn + turn))
        for p in placed
    ]
    at = Placed(table, rotate, footprint(table, 0, 0, turn))
    return [*turned, at], (rotate[:3, :3] @ target)


def _camera(
    rng: np.random.Generator,
    around: Surroundings,
    placed: list[Placed],
    target: NDArray[np.float64],
    stage: Stage,
    size: int,
) -> Camera:
    """A view of the middle of the things from a free place."""
    fov = float(rng.uniform(38, 58))
    areas = [p.footprint for p in placed if p.pose[2, 3] < 0.01 or stage is STAGES["table"]]
    best = None
    for attempt in range(60):
        distance = rng.uniform(*stage.distance) * (1 - 0.3 * attempt / 60)
        turn, rise = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(*stage.elevation))
        eye = target + distance * np.array([np.cos(turn) * np.cos(rise), np.sin(turn) * np.cos(rise), np.sin(rise)])
        eye[2] = max(eye[2], 0.25)
        best = eye
        inside = bool((np.abs(eye[:2]) < around.half - 0.2).all()) and eye[2] < around.height - 0.15
        gap = 0.06 if stage is STAGES["table"] else 0.35
        table = stage is STAGES["table"]
        free = clear_of(eye[:2], [a for a, p in zip(areas, placed, strict=False) if not table], gap)
        if inside and free:
            break
    assert best is not None
    shift = rng.normal(0, 0.06, 3) * stage.radius[0]
    return Camera.looking(best, target + shift, fov, size, roll=float(rng.normal(0, 2)))


def _background(
    scene_id: SceneId,
    rng: np.random.Generator,
    palette: Palette,
    around: Surroundings,
    placed: list[Placed],
    camera: Camera,
    stage: str,
) -> list[Placed]:
    """Bigger things farther off, behind what the picture is about."""
    out: list[Placed] = []
    taken = [p.footprint for p in placed]
    eye, forward = camera.pose[:2, 3], camera.pose[:2, 2]
    forward = forward / np.linalg.norm(forward)
    side = np.array([-forward[1], forward[0]])
    for _ in range(int(rng.integers(1, 4))):
        if stage == "outdoor":
            category = str(rng.choice(["house", "tree", "tree", "windmill", "car", "bench"]))
            away, across = rng.uniform(16, 30), rng.uniform(-0.5, 0.5)
            at = eye + forward * away + side * across * away
        else:
            category = str(rng.choice(["shelf", "sofa", "chair", "plant", "lamp", "bed", "stool", "box", "ladder"]))
            at = rng.uniform(-0.9, 0.9, 2) * around.half
        if stage != "outdoor" and float((at - eye) @ forward) < 0.9:
            continue
        thing = build_thing(category, rng, palette, scene_id.novel(rng))
        spot = try_place(thing, float(at[0]), float(at[1]), 0.0, float(rng.uniform(0, 360)), taken, 0.1)
        if spot is None or (stage != "outdoor" and _outside(spot, around)):
            continue
        taken.append(spot.footprint)
        out.append(spot)
    return out


def _outside(spot: Placed, around: Surroundings) -> bool:
    reach = np.abs(spot.footprint.axes().T) @ spot.footprint.half
    return bool((np.abs(spot.footprint.center) + reach > around.half - 0.08).any())

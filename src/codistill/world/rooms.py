"""The domain `rooms`: furnished rooms and courtyards without people, each seen from two viewpoints."""

import numpy as np
from numpy.typing import NDArray

from codistill.errors import DataError
from codistill.render.camera import Camera
from codistill.render.scene import MergedScene
from codistill.world.enclosure import room
from codistill.world.identity import SceneId
from codistill.world.layout import Footprint, Placed, clear_of, scatter, try_place
from codistill.world.looks import Palette
from codistill.world.objects import outside
from codistill.world.pairs import rotation_between, second_camera, small_depth
from codistill.world.shot import Shot, assemble, draw_film
from codistill.world.surroundings import Surroundings
from codistill.world.things import build_thing, place

AGAINST_WALL = ("shelf", "sofa", "bed", "bench", "lamp", "plant", "shelf", "table")
IN_THE_MIDDLE = ("table", "chair", "chair", "stool", "box", "plant", "ladder", "ball", "bucket", "barrel")
COURTYARD = (
    "bench",
    "tree",
    "barrel",
    "plant",
    "table",
    "chair",
    "ladder",
    "box",
    "cone",
    "umbrella",
    "pumpkin",
    "car",
)
ON_TABLES = ("mug", "bottle", "bowl", "teapot", "vase", "book", "lamp", "laptop", "clock", "goblet", "plant")


def rooms_scene(scene_id: SceneId, size: int) -> Shot:
    """Compose one furnished place and two cameras in it; `size` is the side of the pictures in pixels.

    Raises:
        DataError: if no pair of views with the wanted overlap was found (never seen; the limits are wide).
    """
    for attempt in range(8):
        rng = scene_id.rng(100 + attempt)
        shot = _try_scene(scene_id, rng, size)
        if shot is not None:
            return shot
    raise DataError(f"no pair of views of {scene_id} keeps to the limits of overlap; try another seed")


def _try_scene(scene_id: SceneId, rng: np.random.Generator, size: int) -> Shot | None:
    palette = Palette.draw(rng)
    roofed = rng.random() < 0.75
    half = rng.uniform(1.9, 3.4, 2) if roofed else rng.uniform(3.0, 5.0, 2)
    height = float(rng.uniform(2.4, 3.2)) if roofed else float(rng.uniform(1.8, 3.4))
    around = room(rng, palette, scene_id.novel(rng), half, height, roofed)
    placed = furnish(scene_id, rng, palette, around)
    scene, names = assemble(around, placed, rng)
    merged = MergedScene(scene)
    areas = [p.footprint for p in placed if p.pose[2, 3] < 0.01]
    first = _first_camera(merged, rng, around, areas, size)
    if first is None:
        return None
    ceiling = height if roofed else 3.0
    second = second_camera(merged, first, rng, around.half - 0.15, ceiling)
    if second is None:
        return None
    films = (draw_film(rng), draw_film(rng))
    facts = {
        "stage": "room" if roofed else "courtyard",
        "baseline": float(np.linalg.norm(first.pose[:3, 3] - second.pose[:3, 3])),
        "rotation": rotation_between(first, second),
    }
    return Shot(scene, (first, second), films, names, facts)


def furnish(
    scene_id: SceneId, rng: np.random.Generator, palette: Palette, around: Surroundings
) -> list[Placed]:
    """Place furniture along the walls and in the middle, and small things on the tables."""
    taken: list[Footprint] = []
    out: list[Placed] = []
    along = AGAINST_WALL if around.indoor else COURTYARD
    for _ in range(int(rng.integers(4, 8))):
        spot = _at_wall(scene_id, rng, palette, str(rng.choice(along)), around, taken)
        if spot is not None:
            taken.append(spot.footprint)
            out.append(spot)
    middle = IN_THE_MIDDLE if around.indoor else COURTYARD
    things = [
        build_thing(str(rng.choice(middle)), rng, palette, scene_id.novel(rng))
        for _ in range(int(rng.integers(2, 6)))
    ]
    out += scatter(things, rng, float(around.half.min()) * 0.7, 0.0, 0.08, taken, around.half - 0.2)
    for spot in list(out):
        if spot.thing.category == "table":
            out += set_table(scene_id, rng, palette, spot)
    return out


def _at_wall(
    scene_id: SceneId,
    rng: np.random.Generator,
    palette: Palette,
    category: str,
    around: Surroundings,
    taken: list[Footprint],
) -> Placed | None:
    """Place a thing with its back to a wall; None if there is no room."""
    thing = build_thing(category, rng, palette, scene_id.novel(rng))
    for _ in range(12):
        side = int(rng.integers(4))
        turn = -90.0 * side
        along, out = (around.half[0], around.half[1]) if side % 2 == 0 else (around.half[1], around.half[0])
        back = max(float(mesh.vertices[:, 1].max()) for _, mesh in thing.parts)
        x, y = rng.uniform(-along + 0.4, along - 0.4), out - back - rng.uniform(0.1, 0.2)
        at = place(0, 0, 0, turn)[:2, :2] @ np.array([x, y])
        spot = try_place(thing, float(at[0]), float(at[1]), 0.0, turn, taken, 0.06)
        if spot is not None and not outside(spot, around):
            return spot
    return None


def set_table(scene_id: SceneId, rng: np.random.Generator, palette: Palette, table: Placed) -> list[Placed]:
    """Place one to four small things on a table."""
    half = table.thing.size[:2].astype(np.float64) / 2 * 0.9
    if float(table.thing.size[0]) < 1.2 and float(abs(half[0] - half[1])) < 0.02:
        half = half * 0.7
    things = [
        build_thing(str(rng.choice(ON_TABLES)), rng, palette, scene_id.novel(rng))
        for _ in range(int(rng.integers(1, 5)))
    ]
    small = [t for t in things if float(t.size.max()) < 0.6]
    on_top = scatter(small, rng, float(half.min()), float(table.thing.size[2]), 0.01, [], half)
    out = []
    for p in on_top:
        pose = table.pose @ p.pose
        center = table.pose[:2, :2] @ p.footprint.center + table.pose[:2, 3]
        turn = p.footprint.turn + table.footprint.turn
        out.append(Placed(p.thing, pose, Footprint(center, p.footprint.half, turn)))
    return out


def _first_camera(
    merged: MergedScene, rng: np.random.Generator, around: Surroundings, areas: list[Footprint], size: int
) -> Camera | None:
    """Draw a camera at head height that looks across the place, with nothing close to the lens and not only wall."""
    fov = float(rng.uniform(52, 72))
    best: tuple[float, Camera] | None = None
    for _ in range(14):
        eye: NDArray[np.float64] = np.append(
            rng.uniform(-1, 1, 2) * (around.half - 0.3), rng.uniform(1.0, 1.9)
        )
        target = np.append(rng.uniform(-0.5, 0.5, 2) * around.half, rng.uniform(0.3, 1.1))
        if float(np.linalg.norm(target[:2] - eye[:2])) < 1.0 or not clear_of(eye[:2], areas, 0.25):
            continue
        camera = Camera.looking(eye, target, fov, size, roll=float(rng.normal(0, 3)))
        depth, low = small_depth(merged, camera)
        if float(np.percentile(depth, 4)) < 0.6:
            continue
        directions = low.directions()
        hits = merged.tracer.first_hits(np.broadcast_to(low.position, directions.shape), directions)
        things = np.unique(merged.instance[np.maximum(hits.face, 0)])
        score = float(len(things)) + rng.random()
        if best is None or score > best[0]:
            best = (score, camera)
    return None if best is None else best[1]

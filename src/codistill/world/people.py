"""The domain `people`: one to four dressed Anny bodies, near and far, some truncated or occluded."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from codistill.bodies.anny import PHENOTYPES, AnnyBody
from codistill.geometry.rotations import rotation_vector
from codistill.render.camera import Camera
from codistill.render.mesh import Floats, compact
from codistill.render.scene import Item
from codistill.render.trace import Tracer
from codistill.world.categories import CATEGORIES
from codistill.world.classes import PERSON
from codistill.world.crowd import COARSE, Person, body_faces, draw_people, faces_for
from codistill.world.enclosure import room
from codistill.world.identity import SceneId
from codistill.world.layout import Footprint, Placed, try_place
from codistill.world.looks import Palette
from codistill.world.objects import BACKGROUND, outside
from codistill.world.shot import Shot, assemble, draw_film
from codistill.world.surroundings import Surroundings, open_ground
from codistill.world.things import build_thing, place

HEAD_PATCH = 14
"""Side in pixels of the cells in which heads are counted."""

HUMAN_PARAMETERIZATION = (
    "anny local-ref: rotation vectors relative to the reference pose in the parent's frame"
)


@dataclass(frozen=True)
class Standing:
    """A placed person.

    Attributes:
        vertices: (V, 3) in the world.
        root: (3, 3) root rotation.
        pelvis: (3,) in the world.
        area: the footprint.
        seat: the seat of a sitting person, or None.
    """

    person: Person
    vertices: Floats
    root: NDArray[np.float64]
    pelvis: NDArray[np.float64]
    area: Footprint
    seat: Placed | None


def people_scene(scene_id: SceneId, size: int, body: AnnyBody) -> Shot:
    """Compose one scene of people; `size` is the side of the picture in pixels."""
    rng = scene_id.rng()
    palette = Palette.draw(rng)
    indoor = rng.random() < 0.45
    novel = scene_id.novel(rng)
    if indoor:
        half = rng.uniform(2.4, 4.5, 2)
        around = room(rng, palette, novel, half, float(rng.uniform(2.5, 3.4)))
    else:
        around = open_ground(rng, palette, novel)
    count = int(rng.choice([1, 2, 3, 4], p=[0.3, 0.3, 0.25, 0.15]))
    people = draw_people(scene_id, rng, count, body)
    camera, heading = _camera(rng, around, people[0], size)
    standing = _stand(scene_id, rng, palette, around, people, camera, heading)
    others = _others(scene_id, rng, palette, around, standing, camera, heading)
    seats = [s.seat for s in standing if s.seat is not None]
    items: list[Item] = []
    for number, one in enumerate(standing, start=1):
        faces = faces_for(body, one.vertices, camera)
        items += one.person.items(one.vertices, faces, rng, palette, number, scene_id.novel(rng))
    scene, names = assemble(around, [*seats, *others], rng, first_instance=len(standing) + 1, extra=items)
    names |= dict.fromkeys(range(1, len(standing) + 1), PERSON)
    facts = {"stage": "room" if indoor else "outdoor", "people": [_facts(s, camera, body) for s in standing]}
    bodies = tuple((s.vertices, body_faces(body, COARSE)) for s in standing)
    return Shot(scene, (camera,), (draw_film(rng),), names, facts, bodies)


def _camera(
    rng: np.random.Generator, around: Surroundings, first: Person, size: int
) -> tuple[Camera, NDArray[np.float64]]:
    """Draw a camera in whose picture the first person fills from a third to more than all of the height."""
    fov = float(rng.uniform(42, 68))
    fill = float(np.exp(rng.uniform(np.log(0.42), np.log(1.35))))
    tall = float(np.ptp(first.vertices[:, 2]))
    distance = 0.5 * tall / np.tan(np.radians(fov / 2)) / fill
    farthest = 12.0
    turn = rng.uniform(0, 2 * np.pi)
    heading = np.array([np.cos(turn), np.sin(turn)])
    eye = np.zeros(2)
    if around.indoor:
        farthest = float(around.half.min()) * 1.25
        eye = -heading * (around.half - 0.3).min()
    distance = float(np.clip(distance, 0.9, farthest))
    height = float(np.clip(rng.normal(1.45, 0.3), 0.6, 2.3))
    aim = first_height = tall * (0.5 if fill < 0.85 else rng.uniform(0.5, 0.8))
    aim += rng.normal(0, 0.06) * first_height
    target = np.append(eye + heading * distance, aim)
    camera = Camera.looking(np.append(eye, height), target, fov, size, roll=float(rng.normal(0, 2)))
    return camera, np.append(heading, distance)


def _stand(
    scene_id: SceneId,
    rng: np.random.Generator,
    palette: Palette,
    around: Surroundings,
    people: list[Person],
    camera: Camera,
    heading: NDArray[np.float64],
) -> list[Standing]:
    """Place people within the view: the first where the camera looks, the others nearer or farther."""
    forward, distance = heading[:2], float(heading[2])
    side = np.array([-forward[1], forward[0]])
    slope = float(0.5 * camera.width / camera.intrinsics[0, 0])
    taken: list[Footprint] = []
    out: list[Standing] = []
    for number, person in enumerate(people):
        for attempt in range(30):
            away, across = distance, rng.normal(0, 0.12)
            if number > 0:
                away = distance * rng.uniform(0.8, 2.2) + attempt * 0.05
                across = rng.uniform(-0.85, 0.85)
            at = camera.pose[:2, 3] + forward * away + side * across * slope * away
            facing = np.degrees(np.arctan2(-forward[1], -forward[0])) + 90.0
            turn = facing + (rng.normal(0, 45) if rng.random() < 0.75 else rng.uniform(-180, 180))
            vertices, root, pelvis = person.placed(float(at[0]), float(at[1]), float(turn))
            area = _area(vertices)
            if any(area.overlaps(other, 0.05) for other in taken) or away < 0.85:
                continue
            if around.indoor and bool((np.abs(area.center) + area.half > around.half - 0.05).any()):
                continue
            seat = _seat(scene_id, rng, palette, person, vertices, pelvis) if person.pose.seated else None
            out.append(Standing(person, vertices, root, pelvis, area, seat))
            taken.append(area)
            break
    if not out:
        at = camera.pose[:2, 3] + forward * max(distance, 1.2)
        vertices, root, pelvis = people[0].placed(float(at[0]), float(at[1]), 0.0)
        seat = _seat(scene_id, rng, palette, people[0], vertices, pelvis) if people[0].pose.seated else None
        out.append(Standing(people[0], vertices, root, pelvis, _area(vertices), seat))
    return out


def _area(vertices: Floats) -> Footprint:
    low, high = vertices[:, :2].min(axis=0), vertices[:, :2].max(axis=0)
    return Footprint(((low + high) / 2).astype(np.float64), ((high - low) / 2).astype(np.float64), 0.0)


def _seat(
    scene_id: SceneId,
    rng: np.random.Generator,
    palette: Palette,
    person: Person,
    vertices: Floats,
    pelvis: NDArray[np.float64],
) -> Placed:
    """A stool or a box of the height at which the person sits."""
    near = np.linalg.norm(vertices[:, :2] - pelvis[:2], axis=1) < 0.1
    height = float(vertices[near, 2].min()) + 0.012
    category = str(rng.choice(["stool", "box", "barrel"], p=[0.5, 0.3, 0.2]))
    thing = build_thing(category, rng, palette, scene_id.novel(rng))
    wide = float(thing.size[:2].min())
    across = float(np.clip(0.36 / wide, 0.6, 1.2)) if category != "stool" else 1.0
    stretch = np.diag([across, across, height / float(thing.size[2])])
    parts = tuple((slot, mesh.transformed(stretch)) for slot, mesh in thing.parts)
    stretched = np.diag(stretch)
    fitted = replace(
        thing,
        parts=parts,
        size=stretched * thing.size,
        low=stretched[:2] * thing.low,
        high=stretched[:2] * thing.high,
        radius=thing.radius * across,
    )
    turn = float(rng.uniform(0, 360))
    half = fitted.size[:2].astype(np.float64) / 2
    at = (float(pelvis[0]), float(pelvis[1]))
    return Placed(fitted, place(*at, 0.0, turn), Footprint(np.asarray(at), half, turn))


def _others(
    scene_id: SceneId,
    rng: np.random.Generator,
    palette: Palette,
    around: Surroundings,
    standing: list[Standing],
    camera: Camera,
    heading: NDArray[np.float64],
) -> list[Placed]:
    """Place things behind the people, and sometimes one in front of them that occludes a part."""
    taken = [s.area for s in standing] + [s.seat.footprint for s in standing if s.seat is not None]
    forward, distance = heading[:2], float(heading[2])
    side = np.array([-forward[1], forward[0]])
    slope = float(0.5 * camera.width / camera.intrinsics[0, 0])
    out: list[Placed] = []
    for number in range(int(rng.integers(2, 6))):
        before = number == 0 and rng.random() < 0.4
        away = (
            distance * rng.uniform(0.55, 0.8)
            if before
            else distance + rng.uniform(0.6, 3.0 if around.indoor else 22.0)
        )
        at = camera.pose[:2, 3] + forward * away + side * rng.uniform(-1.0, 1.0) * slope * away
        names = BACKGROUND[around.indoor]
        if before:
            names = ("chair", "table", "bench", "plant", "barrel", "stool", "box", "cone")
        elif rng.random() < 0.3:
            stage = "floor" if around.indoor else "yard"
            names = tuple(c for c, entry in CATEGORIES.items() if stage in entry.stages)
        thing = build_thing(str(rng.choice(names)), rng, palette, scene_id.novel(rng))
        gap = 0.12 if away < 8 else 0.5
        spot = try_place(thing, float(at[0]), float(at[1]), 0.0, float(rng.uniform(0, 360)), taken, gap)
        if spot is None or (around.indoor and outside(spot, around)):
            continue
        near = float(np.linalg.norm(spot.footprint.center - camera.pose[:2, 3])) - float(
            np.linalg.norm(spot.footprint.half)
        )
        if near < 0.5:
            continue
        taken.append(spot.footprint)
        out.append(spot)
    return out


def _facts(one: Standing, camera: Camera, body: AnnyBody) -> dict[str, Any]:
    """Ground truth of one person, in the camera's frame, as plain JSON values."""
    to_camera = camera.pose[:3, :3].T
    joints = one.person.joints @ one.root.T + one.pelvis
    in_camera = (joints - camera.pose[:3, 3]) @ camera.pose[:3, :3]
    pixels, _ = camera.project(joints)
    rotations = one.person.rotations.astype(np.float64)
    rotations[0] = to_camera @ one.root
    head = pixels[body.head_idx]
    cell = np.floor((head + 0.5) / HEAD_PATCH).astype(int)
    in_view = bool((head >= -0.5).all() and (head < [camera.width - 0.5, camera.height - 0.5]).all())
    return {
        "phenotypes": {
            name: round(float(v), 5) for name, v in zip(PHENOTYPES, one.person.phenotypes, strict=True)
        },
        "parameterization": HUMAN_PARAMETERIZATION,
        "rotation_vectors": np.round(rotation_vector(torch.from_numpy(rotations)).numpy(), 5).tolist(),
        "translation": np.round(in_camera[body.pelvis_idx], 5).tolist(),
        "joints_3d": np.round(in_camera, 4).tolist(),
        "joints_2d": np.round(pixels, 2).tolist(),
        "head_cell": [int(cell[1]), int(cell[0])] if in_view else None,
        "head_patch": HEAD_PATCH,
        "pose_family": one.person.pose.family,
        "penetration": round(one.person.penetration, 4),
    }


def silhouette_pixels(vertices: Floats, faces: NDArray[np.int32], camera: Camera, size: int = 64) -> float:
    """Number of pixels that a body alone would cover, including those beyond the picture's borders."""
    wide = camera.intrinsics.copy()
    factor = size / camera.width
    wide[:2] *= factor
    wide[0, 2], wide[1, 2] = size - 0.5, size - 0.5
    larger = Camera(wide, camera.pose, 2 * size, 2 * size)
    directions = larger.directions().reshape(2 * size, 2 * size, 3)
    if float(((vertices - camera.position) @ camera.pose[:3, 2].astype(np.float32)).min()) > 0.05:
        pixels, _ = larger.project(vertices)  # no ray elsewhere can hit it
        left, top = np.clip(np.floor(pixels.min(axis=0)).astype(int), 0, 2 * size)
        right, bottom = np.clip(np.ceil(pixels.max(axis=0)).astype(int) + 1, 0, 2 * size)
        directions = directions[top:bottom, left:right]
    directions = directions.reshape(-1, 3)
    if len(directions) == 0:
        return 0.0
    used, faces = compact(faces, len(vertices))
    hits = Tracer(vertices[used], faces).first_hits(
        np.broadcast_to(larger.position, directions.shape), directions
    )
    return float((hits.face >= 0).sum()) / factor**2

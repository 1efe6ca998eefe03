"""Render and encode a scene: JPEG, depth, labels, instances and one JSON per picture, as stored in the shards."""

import io
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codistill.imaging.depth16 import from_metres
from codistill.render.camera import Camera
from codistill.render.film import develop
from codistill.render.picture import Picture, render
from codistill.render.scene import MergedScene
from codistill.world.classes import CLASS_INDEX, CLASSES
from codistill.world.compose import compose
from codistill.world.identity import SceneId
from codistill.world.pairs import overlap
from codistill.world.people import silhouette_pixels
from codistill.world.shot import Shot

JPEG_QUALITY = 92
FORMAT = 2
"""Version of the format of pictures and their ground truth; depth is encoded as in `imaging/depth16.py`."""


@dataclass(frozen=True)
class View:
    """One picture with its ground truth.

    Attributes:
        rgb: (row, column, 3).
        depth: (row, column), metres, inf for sky.
        label, instance: (row, column).
        facts: content of the JSON.
    """

    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32]
    label: NDArray[np.uint8]
    instance: NDArray[np.int32]
    camera: Camera
    facts: dict[str, Any]


def render_views(scene_id: SceneId, size: int) -> list[View]:
    """Render the pictures of one scene (two for `rooms`); they are the same on all machines of one kind."""
    shot = compose(scene_id, size)
    merged = MergedScene(shot.scene)
    pictures, views = [], []
    for number, (camera, film) in enumerate(zip(shot.cameras, shot.films, strict=True)):
        rng = scene_id.rng(1 + number)
        picture = render(merged, camera, rng)
        pictures.append(picture)
        label = np.where(np.isinf(picture.depth), CLASS_INDEX["sky"], picture.label).astype(np.uint8)
        facts = _facts(scene_id, shot, picture, camera, number, size)
        rgb = develop(picture.linear, film, rng)
        views.append(View(rgb, picture.depth, label, picture.instance, camera, facts))
    if len(views) == 2:
        _add_pair_facts(scene_id, shot, pictures, views)
    return views


def encode_views(scene_id: SceneId, views: list[View]) -> list[tuple[str, dict[str, bytes]]]:
    """Encode each picture as (key, {member: bytes})."""
    return [
        (
            scene_id.key(number),
            {
                "jpg": _jpeg(view.rgb),
                "depth.png": _png(from_metres(view.depth)),
                "labels.png": _png(view.label),
                "instances.png": _png(np.minimum(view.instance, 255).astype(np.uint8)),
                "json": json.dumps(view.facts, separators=(",", ":")).encode(),
            },
        )
        for number, view in enumerate(views)
    ]


def _jpeg(rgb: NDArray[np.uint8]) -> bytes:
    out = io.BytesIO()
    Image.fromarray(rgb).save(out, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return out.getvalue()


def _png(array: NDArray[np.unsignedinteger]) -> bytes:
    out = io.BytesIO()
    Image.fromarray(array).save(out, "PNG", compress_level=3)
    return out.getvalue()


def _facts(
    scene_id: SceneId, shot: Shot, picture: Picture, camera: Camera, view: int, size: int
) -> dict[str, Any]:
    counts = np.bincount(picture.instance.ravel(), minlength=1)
    instances = [
        {"id": number, "class": name, "pixels": int(counts[number]) if number < len(counts) else 0}
        for number, name in sorted(shot.names.items())
    ]
    facts: dict[str, Any] = {
        "format": FORMAT,
        "seed": scene_id.seed,
        "domain": scene_id.domain,
        "split": scene_id.split,
        "scene": scene_id.index,
        "view": view,
        "size": size,
        "intrinsics": np.round(camera.intrinsics, 6).tolist(),
        "camera_to_world": np.round(camera.pose, 9).tolist(),
        "instances": [one for one in instances if one["pixels"]],
        "classes": [CLASSES[c] for c in np.unique(np.where(np.isinf(picture.depth), 0, picture.label))],
        **{key: value for key, value in shot.facts.items() if key != "people"},
    }
    if "people" in shot.facts:
        facts["people"] = [
            {**person, "instance": number, "visible": _visible(shot, camera, counts, number)}
            for number, person in enumerate(shot.facts["people"], start=1)
        ]
    return facts


def _visible(shot: Shot, camera: Camera, counts: NDArray[np.int64], number: int) -> float:
    """Visible share of a body's silhouette, which includes the part beyond the picture's borders."""
    vertices, faces = shot.bodies[number - 1]
    alone = silhouette_pixels(vertices, faces, camera)
    seen = int(counts[number]) if number < len(counts) else 0
    return round(min(1.0, seen / max(alone, 1.0)), 3)


def _add_pair_facts(scene_id: SceneId, shot: Shot, pictures: list[Picture], views: list[View]) -> None:
    first, second = shot.cameras
    share = overlap(pictures[0].depth, first, pictures[1].depth, second)
    relative = np.linalg.inv(second.pose) @ first.pose
    for number, view in enumerate(views):
        view.facts["pair"] = {
            "other": scene_id.key(1 - number),
            "overlap": round(share, 4),
            "baseline": round(float(np.linalg.norm(relative[:3, 3])), 4),
            "rotation": round(float(shot.facts["rotation"]), 3),
            "camera_1_to_camera_2": np.round(relative, 9).tolist(),
        }

"""Worlds of `objects` that are drawn, not rendered: coloured rectangles with their truth, in ordinary shards."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from codistill.data.shard_format import write_shard
from codistill.data.shard_index import write_index
from codistill.world.classes import CLASS_INDEX, CLASSES
from codistill.world.identity import SceneId
from codistill.world.sample import FORMAT

SIZE = 96
COLOURS = {"chair": (220, 40, 40), "ball": (40, 220, 40), "table": (40, 40, 220)}
Box = tuple[str, int, int, int]
"""A category, the top and the left of its square, and its side."""


def drawn_world(root: Path, splits: Mapping[str, Sequence[Sequence[Box]]]) -> Path:
    """A world whose pictures have these boxes, numbered from 1."""
    root.mkdir(parents=True, exist_ok=True)
    plan = {"format": FORMAT, "domains": ["objects"], "size": SIZE, "seed": 0, "classes": list(CLASSES)}
    (root / "world.json").write_text(json.dumps(plan))
    for split, pictures in splits.items():
        folder = root / "objects" / split
        folder.mkdir(parents=True, exist_ok=True)
        samples = [
            (SceneId(seed=0, domain="objects", split=split, index=index).key(), _members(boxes, index))
            for index, boxes in enumerate(pictures)
        ]
        write_shard(folder / "shard-000000.tar", samples)
        write_index(folder)
    return root


def random_boxes(seed: int, pictures: int, categories: Sequence[str] = tuple(COLOURS)) -> list[list[Box]]:
    """Three boxes a picture, in places that do not overlap; in all, every category."""
    rng = np.random.default_rng(seed)
    return [
        [
            (
                categories[(3 * number + place) % len(categories)],
                48 * (place // 2) + int(rng.integers(0, 8)),
                48 * (place % 2) + int(rng.integers(0, 8)),
                int(rng.integers(26, 40)),
            )
            for place in range(3)
        ]
        for number in range(pictures)
    ]


def _members(boxes: Sequence[Box], seed: int) -> dict[str, bytes]:
    rng = np.random.default_rng(seed)
    image = np.full((SIZE, SIZE, 3), 128.0)
    labels = np.full((SIZE, SIZE), CLASS_INDEX["ground"], np.uint8)
    instances = np.zeros((SIZE, SIZE), np.uint8)
    for number, (category, top, left, side) in enumerate(boxes, start=1):
        window = slice(top, top + side), slice(left, left + side)
        image[window], labels[window], instances[window] = COLOURS[category], CLASS_INDEX[category], number
    noisy = np.clip(image + rng.normal(0, 20, image.shape), 0, 255).astype(np.uint8)
    maps = {"labels.png": labels, "instances.png": instances}
    return {
        "jpg": _file(noisy, "JPEG"),
        **{name: _file(values, "PNG") for name, values in maps.items()},
        "json": b"{}",
    }


def _file(values: np.ndarray, kind: str) -> bytes:
    out = io.BytesIO()
    Image.fromarray(values).save(out, kind)
    return out.getvalue()

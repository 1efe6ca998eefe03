"""Outputs of a model for one synthetic picture: a few numbers that show whether a copy of the model is intact."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from codistill.encoders.load import load_encoder
from codistill.tasks.registry import find_task
from codistill.tasks.task import ImageFile, Subject
from codistill.weights.shipped import HEADS

_CHANNELS = 8
"""Channels that are kept of a token."""


def probe_picture(size: int) -> np.ndarray:
    """The synthetic picture, (size, size, 3) uint8: a tiled floor, a sky and a ball, computed in integers only."""
    rows, columns = np.mgrid[0:size, 0:size] * 256 // size
    tiles = ((rows * rows // 2048 + columns // 24) % 2) * 90 + 60
    sky = np.stack([90 + rows // 3, 140 + rows // 4, 220 - rows // 8], axis=-1)
    floor = np.stack([tiles, tiles * 4 // 5, tiles // 2 + 20], axis=-1)
    picture = np.where((rows > 140)[..., None], floor, sky)
    inside = (rows - 150) ** 2 + (columns - 110) ** 2 < 45**2
    light = 230 - ((rows - 130) ** 2 + (columns - 90) ** 2) // 24
    ball = np.stack([light, light // 3, light // 4], axis=-1)
    return np.where(inside[..., None], ball, picture).clip(0, 255).astype(np.uint8)


def probe_encoder(model: Path, size: int) -> dict[str, Any]:
    """Statistics and some values of the encoder's tokens for the synthetic picture.

    Args:
        model: the encoder's folder.
        size: side of the picture in pixels.
    """
    encoder = load_encoder(model)
    images = encoder.preprocess([Image.fromarray(probe_picture(size))], size=(size, size))
    with torch.inference_mode():
        tokens = encoder(images)
    patches = tokens.patches[0]
    answer = {
        "patch_mean": float(patches.mean()),
        "patch_std": float(patches.std()),
        "first_patch": patches[0, :_CHANNELS].tolist(),
        "last_patch": patches[-1, :_CHANNELS].tolist(),
    }
    if tokens.cls is not None:
        answer["cls"] = tokens.cls[0, :_CHANNELS].tolist()
    return answer


def probe_head(model: Path, name: str, size: int) -> dict[str, float] | None:
    """Numbers in a head's prediction for the synthetic picture; None for tasks that predict nothing for single images.

    Args:
        model: folder of the model that has the head.
        name: name of the task.
        size: side of the picture in pixels.
    """
    task = find_task(name)
    if task.predict is None:
        return None
    options = task.predict.options()
    answering = task.load(Subject(head=model / HEADS / name), options, None)
    with tempfile.TemporaryDirectory() as folder:
        file = ImageFile(Path("probe.png"), "probe")
        made = task.predict.run(answering, probe_picture(size), file, options, Path(folder))
    return dict(numbers_in(made.facts))


def numbers_in(value: Any, name: str = "") -> list[tuple[str, float]]:
    """List every number in JSON data with its dotted path."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return []
    if isinstance(value, (int, float)):
        return [(name, float(value))]
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return [found for key, item in items for found in numbers_in(item, f"{name}.{key}" if name else str(key))]

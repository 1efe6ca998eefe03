"""Open NAVI's pairs: pictures of objects in the wild, with pose and depth.

    navi:ROOT    ROOT/OBJECT/wild_set/annotations.json    a list: filename, image_size (rows, columns), camera with
                                                          focal_length (pixels), q (w, x, y, z), t (millimetres)
                 ROOT/OBJECT/wild_set/images/NAME.jpg
                 ROOT/OBJECT/wild_set/depth/NAME.png      16 bits: 655350 / value millimetres, 0 unknown

As in Probe3D, q and t transform object coordinates to the camera frame, and the principal point is the image centre.
Every fourth picture is paired with a random picture of the same object, at most 120 degrees away, and pictures are
cropped to a square around the object. Here a fixed seed decides the pairs; Probe3D's random draws depend on the order
in which the disk lists files.
"""

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from codistill.data.rooted import path_below
from codistill.errors import DataError
from codistill.files.listing import any_case, list_folders
from codistill.geometry.poses import pose_matrix, quaternion_to_matrix, rotation_angle
from codistill.imaging import decode_map, read_file, read_rgb
from codistill.tasks.layout import TaskData, Where
from codistill.tasks.shared.data import need_folder
from codistill.tasks.shared.groups import Groups
from codistill.tasks.two_view.pairs import FilePairs, PosedImage, ViewFiles

NAVI_LAYOUT = "OBJECT/wild_set/{annotations.json, images/NAME.jpg, depth/NAME.png} (NAVI v1)"
MOST_DEGREES, EVERY, SEED = 120.0, 4, 8
_INVERSE_METRES = 655.35


@dataclass(frozen=True)
class NaviView(ViewFiles):
    """A picture of an object.

    Attributes:
        size: rows and columns that the intrinsics refer to.
    """

    size: tuple[int, int]

    def read(self) -> PosedImage:
        """Read the square crop around the object.

        Raises:
            DataError: if a file cannot be used.
        """
        assert self.depth is not None
        image, values = read_rgb(self.image), decode_map(read_file(self.depth), name=str(self.depth))
        if values.dtype != np.uint16 or values.shape != image.shape[:2]:
            raise DataError(
                f"{self.depth}: expected 16 bits and {image.shape[0]}x{image.shape[1]} pixels, as its image has; found "
                f"{values.dtype} and {values.shape[0]}x{values.shape[1]}"
            )
        metres = np.where(values > 0, _INVERSE_METRES / np.maximum(values, 1), 0.0).astype(np.float32)
        top, left, side = _square(metres)
        window = (slice(top, top + side), slice(left, left + side))
        scale = np.array([image.shape[1] / self.size[1], image.shape[0] / self.size[0]])
        intrinsics = self.intrinsics.copy()
        intrinsics[:2, 2] = (intrinsics[:2, 2] + 0.5) * scale - 0.5 - (left, top)
        intrinsics[[0, 1], [0, 1]] *= scale
        return PosedImage(image[window], metres[window], intrinsics, self.camera_to_world, str(self.image))


def _square(depth: np.ndarray) -> tuple[int, int, int]:
    """Top, left and side of the smallest square that contains all known depth, moved inside the image."""
    ends = [
        np.flatnonzero((depth > 0).any(axis))[[0, -1]] if depth.any() else (0, depth.size) for axis in (1, 0)
    ]
    side = int(min(max(last + 1 - first for first, last in ends), *depth.shape))
    top, left = (
        int(np.clip((first + last + 1 - side) // 2, 0, length - side))
        for (first, last), length in zip(ends, depth.shape, strict=True)
    )
    return top, left, side


def open_navi(where: Where) -> TaskData:
    """Open every fourth picture of the wild sets with its partner; one group per object.

    Raises:
        DataError: if nothing is found, or files of a picture are missing (with `partial` the picture is left out).
    """
    rng, pairs, lost = random.Random(SEED), [], []
    for folder in list_folders(need_folder(where.root, NAVI_LAYOUT)):
        if (folder / "wild_set").is_dir():
            views = _views(folder / "wild_set")
            there = [view for view in views if view.image.is_file() and view.depth and view.depth.is_file()]
            lost += [view.image for view in views if view not in there]
            pairs += [(folder.name, two) for two in _partners(there, rng)]
    if (lost and not where.partial) or not pairs:
        found = f"{len(lost)} pictures lack image or depth, e.g. {lost[0]}" if lost else "holds no pairs"
        raise DataError(
            f"{where.spec}: {found}. Expected layout: {NAVI_LAYOUT}. --partial leaves such pictures out."
        )
    objects, views = zip(*pairs[::EVERY], strict=True)
    samples = FilePairs(views, (float("nan"),) * len(views), Groups(objects, "objects"))
    notes = (f"{len(lost)} pictures lack image or depth, and are left out",) if lost else ()
    return TaskData(spec=where.spec, split=where.split, samples=samples, notes=notes)


def _views(folder: Path) -> list[NaviView]:
    """Annotated pictures of an object, sorted by file name."""
    path = folder / "annotations.json"
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        return [_view(folder, entry) for entry in sorted(entries, key=lambda one: one["filename"])]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: expected a list of pictures with filename, image_size and camera (focal_length, q, t); "
            f"{type(error).__name__}: {error}"
        ) from error


def _view(folder: Path, entry: dict[str, Any]) -> NaviView:
    camera, (rows, columns) = entry["camera"], entry["image_size"]
    focal, image = float(camera["focal_length"]), Path(path_below(entry["filename"], str(folder / "images")))
    intrinsics = np.array([[focal, 0, (columns - 1) / 2], [0, focal, (rows - 1) / 2], [0, 0, 1]])
    rotation, shift = (torch.tensor(camera[name], dtype=torch.float64) for name in ("q", "t"))
    object_to_camera = pose_matrix(quaternion_to_matrix(rotation), shift / 1000.0).numpy()
    depth = any_case(folder / "depth" / f"{image.stem}.png")
    return NaviView(any_case(image), depth, intrinsics, np.linalg.inv(object_to_camera), (rows, columns))


def _partners(views: list[NaviView], rng: random.Random) -> list[tuple[ViewFiles, ViewFiles]]:
    """Pair each picture with a random other one of its object; pictures without one in range are left out."""
    pairs = []
    rotations = [torch.from_numpy(view.camera_to_world[:3, :3]) for view in views]
    for view, rotation in zip(views, rotations, strict=True):
        degrees = [float(torch.rad2deg(rotation_angle(other.T @ rotation))) for other in rotations]
        near = [o for o, angle in zip(views, degrees, strict=True) if o is not view and angle <= MOST_DEGREES]
        if near:
            pairs.append((view, rng.choice(near)))
    return pairs

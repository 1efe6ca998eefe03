"""Open depth data: from `LAYOUT:FOLDER` and a split to images with depth in metres and the layout's protocol.

Layouts: nyud (the lists of BTS, as DINOv2 uses them), folder (your own), world. Depth files are 16-bit PNGs in
millimetres, 0 unknown. A folder may contain

    ROOT/depth.json    {"nearest": 0.001, "farthest": 80.0, "metres_per_unit": 0.00390625}

which gives the range in metres that heads predict and that is scored (0.001 to 10 without the file), and the unit of
the PNGs (0.001 m without the file).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, floor, isfinite
from pathlib import Path

import numpy as np

from codistill.data.rooted import path_below
from codistill.errors import ConfigError, DataError
from codistill.files.json_files import read_json
from codistill.imaging.depth16 import MILLIMETRE, to_metres
from codistill.metrics.depth import NYU_EIGEN_CROP
from codistill.tasks.dense.protocol import DenseSplit, opened
from codistill.tasks.dense.world import world_surfaces
from codistill.tasks.layout import Layout, Where
from codistill.tasks.shared.data import (
    DenseData,
    FilePairs,
    check_count,
    folder_pairs,
    need_folder,
    pair_up,
    read_list,
)
from codistill.tasks.shared.groups import Groups, groups_of
from codistill.world.dataset import DepthSample, World

RANGE_FILE = "depth.json"
"""File in a folder of your own with the depth range and the unit."""


@dataclass(frozen=True, kw_only=True)
class DepthProtocol:
    """How images of a data set are prepared, and which pixels are scored.

    Attributes:
        crop: rows and columns of training views.
        border: rows and columns (first and last exclusive of each) of the resized image used in training; None for all.
        degrees: largest angle of random rotation in training.
        nearest, farthest: depth range of the head and of the score, metres.
        eval_crop: rows and columns that are scored, or None for all.
        resized: rows and columns that images are first resized to, or None.
        original: rows and columns of all original images, to which border and crop refer; None if images differ in
            size.
        steps: steps of a fit.
    """

    crop: tuple[int, int]
    border: tuple[int, int, int, int] | None = None
    degrees: float = 2.5
    nearest: float = 1e-3
    farthest: float = 10.0
    eval_crop: tuple[int, int, int, int] | None = None
    resized: tuple[int, int] | None = None
    original: tuple[int, int] | None = None
    steps: int = 38_400

    def __post_init__(self) -> None:
        if min(self.crop) < 1 or self.steps < 1 or not 0.0 < self.nearest < self.farthest:
            raise ConfigError(f"crop and steps must be positive, 0 < nearest < farthest (metres); got {self}")

    def at_size(self, size: int) -> "DepthProtocol":
        """The protocol for images resized to squares; border and crops scale with them."""
        if self.border is None or self.original is None:
            return replace(self, crop=(size, size), resized=(size, size))
        rows, columns = (size / side for side in self.original)
        top, bottom, left, right = self.border
        border = (ceil(top * rows), floor(bottom * rows), ceil(left * columns), floor(right * columns))
        crop = (
            max(1, min(round(self.crop[0] * rows), border[1] - border[0])),
            max(1, min(round(self.crop[1] * columns), border[3] - border[2])),
        )
        return replace(self, crop=crop, border=border, resized=(size, size), original=(size, size))


PROTOCOLS = {
    "nyud": DepthProtocol(
        crop=(416, 544), border=(45, 472, 43, 608), eval_crop=NYU_EIGEN_CROP, original=(480, 640)
    ),
    "folder": DepthProtocol(crop=(416, 544), steps=4000),
    "world": DepthProtocol(crop=(224, 224), steps=2000),
}


DepthData = DenseSplit[DepthProtocol]
"""A split whose samples hold depth in metres (fp32, 0 unknown)."""


@dataclass(frozen=True)
class Metres:
    """Converts 16-bit depth maps without sky to fp32 metres; a value counts `unit` metres."""

    unit: float = MILLIMETRE

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Depth in metres, 0 unknown.

        Raises:
            DataError: for 8-bit values, or if no depth is known.
        """
        metres = to_metres(values, self.unit, sky=False)
        if not values.any():
            raise DataError("has no known depth: every value is 0")
        return metres


def known_share(data: DenseData, protocol: DepthProtocol, indices: Sequence[int]) -> tuple[float, float]:
    """Share of the known depth of some samples that lies in the protocol's range, and the largest depth (metres).

    Raises:
        DataError: if no depth is known.
    """
    inside = known = 0
    farthest = 0.0
    for index in indices:
        depth = data[index].target
        depth = depth[np.isfinite(depth) & (depth > 0)]
        known += depth.size
        inside += int(((depth > protocol.nearest) & (depth < protocol.farthest)).sum())
        farthest = max(farthest, float(depth.max(initial=0.0)))
    if not known:
        raise DataError("no depth is known in any of the images that were checked")
    return inside / known, farthest


def _without_sky(sample: DepthSample) -> np.ndarray:
    depth = sample.depth.numpy()
    return np.where(np.isfinite(depth), depth, 0.0).astype(np.float32)


def _world(where: Where) -> DepthData:
    world = World(where.root)
    samples = world_surfaces(world, where.split, _without_sky)
    return opened(where, samples, replace(PROTOCOLS["world"], crop=(world.size, world.size)))


def _lists(where: Where) -> DepthData:
    return opened(where, _nyud(where.root, where.split, where.partial), PROTOCOLS["nyud"])


def _own(where: Where) -> DepthData:
    protocol, unit = _folder_range(where.root, PROTOCOLS["folder"])
    return opened(where, _folder(where.root, where.split, unit), protocol)


LAYOUTS = {
    "nyud": Layout(_lists, "NYU depth by BTS's lists nyu_train.txt and nyu_test.txt, as DINOv2 uses them"),
    "folder": Layout(_own, "your own: images/SPLIT, depth/SPLIT (16-bit PNG), depth.json"),
    "world": Layout(_world, "the embedded world", ("train", "val", "test")),
}
"""Layouts by name, the word before the colon."""


def _nyud(root: Path, split: str, partial: bool) -> DenseData:
    listing = root / ("nyu_train.txt" if split == "train" else "nyu_test.txt")
    layout = f"{listing.name} with lines `image depth focal`, and the scene folders that it names beside it"
    need_folder(root, layout)
    images, depths, without = [], [], 0
    for number, line in enumerate(read_list(listing, layout), start=1):
        words = line.split()
        if len(words) < 2:
            raise DataError(f"{listing}, line {number}: {line!r}. Expected: image, depth, focal length")
        if words[1] == "None":
            without += 1
            continue
        images.append(_nyu_path(root, words[0], split))
        depths.append(_nyu_path(root, words[1], split))
    expected = None if split == "train" else 654
    check_count(len(images) + without, expected, f"{listing}", partial)
    missing = [image for image in images if not image.is_file()]
    if missing:
        raise DataError(
            f"{listing}: {len(missing)} of its {len(images)} images are missing; the first ones: "
            f"{', '.join(map(str, missing[:3]))}"
        )
    targets = dict(zip(images, depths, strict=True))
    torn = [image for image, depth in zip(images, depths, strict=True) if targets[image] != depth]
    if torn:
        raise DataError(f"{listing}: gives {torn[0]} two depth maps; remove one of the lines")
    pairs = pair_up(sorted(images), targets.__getitem__, str(listing))
    return FilePairs(pairs, _nyud_groups(root, split, [image for image, _ in pairs]), Metres(), (480, 640))


def _nyud_groups(root: Path, split: str, images: list[Path]) -> Groups:
    """Scenes of the training list (parts a, b, … of a recording form one scene); for the test list, room types only."""
    folders = [image.parent.name for image in images]
    names = [f"{image.parent.name}/{image.name}" for image in images]
    scenes = tuple(re.sub(r"(?<=\d)[a-z]$", "", folder) for folder in folders)
    return groups_of(root, split, names, Groups(scenes, "scenes" if split == "train" else "room types"))


def _nyu_path(root: Path, name: str, split: str) -> Path:
    """Path of a listed file: next to the list, or in the split's folder as in published copies."""
    name = name.lstrip("/\\")
    folders = ("", "sync", "train") if split == "train" else ("", "official_splits/test", "test")
    places = [Path(path_below(name, str(root / folder))) for folder in folders]
    return next((place for place in places if place.is_file()), places[0])


def _folder_range(root: Path, protocol: DepthProtocol) -> tuple[DepthProtocol, float]:
    """The protocol with the range in depth.json, and metres per unit."""
    path = root / RANGE_FILE
    if not path.is_file():
        return protocol, 0.001
    said = read_json(path)
    unknown = sorted(set(said) - {"nearest", "farthest", "metres_per_unit"})
    numbers = {
        "nearest": said.get("nearest", protocol.nearest),
        "farthest": said.get("farthest", protocol.farthest),
        "metres_per_unit": said.get("metres_per_unit", 0.001),
    }
    good = all(
        isinstance(n, (int, float)) and not isinstance(n, bool) and isfinite(n) for n in numbers.values()
    )
    unit = numbers["metres_per_unit"]
    if unknown or not good or not 0 < numbers["nearest"] < numbers["farthest"] or unit <= 0:
        raise DataError(
            f'{path}: expected {{"nearest": 0.001, "farthest": 80.0, "metres_per_unit": 0.001}}, any of them, '
            f"positive, with nearest < farthest; got {said}"
        )
    return replace(protocol, nearest=float(numbers["nearest"]), farthest=float(numbers["farthest"])), float(
        unit
    )


def _folder(root: Path, split: str, unit: float) -> DenseData:
    layout = f"images/{split}/*.jpg and depth/{split}/*.png (16-bit millimetres, the same names)"
    pairs, groups = folder_pairs(root, split, "depth", layout)
    about = (root / RANGE_FILE,) if (root / RANGE_FILE).is_file() else ()
    return FilePairs(pairs, groups, Metres(unit), about=about)

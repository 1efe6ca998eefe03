"""What is measured: `KIND:FOLDER` and a split in, images with depth in metres and the kind's protocol out.

Kinds: nyud (the lists of BTS, as DINOv2 uses them), folder (your own), world. Depth files are 16-bit PNGs in
millimetres, 0 where nothing is known. A folder may say more:

    ROOT/depth.json    {"nearest": 0.001, "farthest": 80.0, "metres_per_unit": 0.00390625}

the range that its heads learn and that is scored (metres; 0.001 to 10 without the file), and what a unit of its PNGs is
(0.001 m without it).
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
from codistill.files.listing import by_stem, list_files
from codistill.imaging.depth16 import MILLIMETRE, to_metres
from codistill.metrics.depth import NYU_EIGEN_CROP
from codistill.tasks.shared.data import (
    DenseData,
    DenseSample,
    FilePairs,
    check_count,
    need_folder,
    pair_up,
    parse_spec,
    read_list,
)
from codistill.tasks.shared.groups import Groups, groups_of
from codistill.tasks.shared.inputs import SampleInputs
from codistill.world.dataset import DepthDataset, World

RANGE_FILE = "depth.json"
"""In a folder of your own: its range and unit."""


@dataclass(frozen=True, kw_only=True)
class DepthProtocol:
    """How images of a data set are seen, and what is scored.

    Attributes:
        crop: rows and columns of training views.
        border: rows and columns (first, last exclusive, each) that training keeps, of images as they are resized; None
            for all.
        degrees: largest random rotation in training.
        nearest, farthest: metres: range of the head, and of what is scored.
        eval_crop: rows and columns that are scored, or None for all.
        resized: rows and columns that images are brought to first, or None.
        original: rows and columns of all images, which border and crop are of; None where they differ.
        steps: of a fit.
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
        """The same for images that are resized to squares; a border and its crop shrink along."""
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


@dataclass(frozen=True)
class DepthData:
    """A split of a data set.

    Attributes:
        spec: as it was given.
        split: `train`, `val` or `test`.
        samples: images with depth (metres, fp32, 0 unknown).
        protocol: how it is seen.
    """

    spec: str
    split: str
    samples: DenseData
    protocol: DepthProtocol


@dataclass(frozen=True)
class WorldDepth:
    """The embedded world's samples as arrays; sky becomes unknown."""

    samples: DepthDataset

    @property
    def groups(self) -> Groups:
        """Scenes: of a room there are two views."""
        return Groups(self.samples.scenes(), "scenes")

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> DenseSample:
        sample = self.samples[index]
        depth = sample.depth.numpy()
        return DenseSample(
            sample.image.numpy(), np.where(np.isfinite(depth), depth, 0.0).astype(np.float32), sample.name
        )

    def inputs_of(self, index: int) -> SampleInputs:
        """The sample's shard, and which of it."""
        return self.samples.inputs_of(index)


@dataclass(frozen=True)
class Metres:
    """Values of 16-bit depth maps without a sky as fp32 metres; `unit` metres each."""

    unit: float = MILLIMETRE

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Metres, 0 unknown.

        Raises:
            DataError: for 8-bit values, or none that is known.
        """
        metres = to_metres(values, self.unit, sky=False)
        if not values.any():
            raise DataError("has no known depth: every value is 0")
        return metres


def known_share(data: DenseData, protocol: DepthProtocol, indices: Sequence[int]) -> tuple[float, float]:
    """Of the known depth of some samples, the share in the protocol's range, and the farthest (metres).

    Raises:
        DataError: if nothing is known.
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
        raise DataError("no depth is known in any of the images that were looked at")
    return inside / known, farthest


def open_depth(spec: str, split: str, *, partial: bool = False) -> DepthData:
    """A split of a data set.

    Args:
        spec: `KIND:FOLDER`, e.g. `nyud:/data/nyu`.
        split: `train`, `val`; the world has `test` as well.
        partial: use a data set of which images are missing.

    Raises:
        ConfigError: if the spec makes no sense.
        DataError: if the data set is incomplete or lies otherwise than expected; the text says how.
    """
    kind, root = parse_spec(spec, PROTOCOLS)
    protocol = PROTOCOLS[kind]
    if kind == "world":
        world = World(root)
        domains = tuple(d for d in ("rooms", "objects") if d in world.domains)
        samples: DenseData = WorldDepth(world.depth(split, domains or ("rooms",)))
        return DepthData(spec, split, samples, replace(protocol, crop=(world.size, world.size)))
    if split not in ("train", "val"):
        raise DataError(f"{spec}: has the splits train and val; got {split!r}")
    if kind == "nyud":
        return DepthData(spec, split, _nyud(root, split, partial), protocol)
    protocol, unit = _folder_range(root, protocol)
    return DepthData(spec, split, _folder(root, split, unit), protocol)


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
    pairs = pair_up(sorted(images), targets.__getitem__, str(listing))
    return FilePairs(pairs, _nyud_groups(root, split, [image for image, _ in pairs]), Metres(), (480, 640))


def _nyud_groups(root: Path, split: str, images: list[Path]) -> Groups:
    """Scenes of the training list (parts a, b, … of a recording are one); the test list names room types only."""
    folders = [image.parent.name for image in images]
    names = [f"{image.parent.name}/{image.name}" for image in images]
    scenes = tuple(re.sub(r"(?<=\d)[a-z]$", "", folder) for folder in folders)
    return groups_of(root, split, names, Groups(scenes, "scenes" if split == "train" else "room types"))


def _nyu_path(root: Path, name: str, split: str) -> Path:
    """Where a listed file is: beside the list, or in the folder of the split that published copies have."""
    name = name.lstrip("/\\")
    folders = ("", "sync", "train") if split == "train" else ("", "official_splits/test", "test")
    places = [Path(path_below(name, str(root / folder))) for folder in folders]
    return next((place for place in places if place.is_file()), places[0])


def _folder_range(root: Path, protocol: DepthProtocol) -> tuple[DepthProtocol, float]:
    """The protocol with the range of depth.json, and metres per unit."""
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
    images = need_folder(root / "images" / split, layout)
    depths = need_folder(root / "depth" / split, layout)
    found = list(by_stem(list_files(images)).values())
    pairs = pair_up(found, lambda image: depths / f"{image.stem}.png", f"{root} ({split})")
    about = (root / RANGE_FILE,) if (root / RANGE_FILE).is_file() else ()
    return FilePairs(pairs, groups_of(root, split, [path.name for path in found]), Metres(unit), about=about)

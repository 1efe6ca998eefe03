"""Layouts of posed pairs: rooms of the embedded world, folders of your own, Map-free with added depth maps of your own.

folder:ROOT     ROOT/SPLIT/pairs.txt          lines `IMAGE1 IMAGE2 [OVERLAP]`, names without suffix
                ROOT/SPLIT/images/NAME.jpg    any image file
                ROOT/SPLIT/depth/NAME.png     16-bit millimetres along z, 0 unknown, 65535 sky
                ROOT/SPLIT/cameras.txt        lines `NAME fx fy cx cy qw qx qy qz tx ty tz`, camera-to-world
mapfree:ROOT    ROOT/SPLIT/sXXXXX/…           as published; depth next to each image as frame_00005.depth.png,
                                              pairs from overlaps.npz with an overlap between 0.2 and 0.7
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from codistill.errors import DataError
from codistill.files.listing import any_case, by_stem, list_files, list_folders
from codistill.geometry.poses import pose_matrix, quaternion_to_matrix
from codistill.tasks.shared.data import need_folder, read_list
from codistill.tasks.shared.groups import GROUPS_FILE, Groups, groups_of, joined
from codistill.tasks.task import Layout, Where
from codistill.tasks.two_view.pairs import FilePairs, PairsData, PosedImage, ViewFiles, WorldPairs
from codistill.world.dataset import World

MAPFREE_OVERLAP = (0.2, 0.7)
"""Range of overlap of the pairs on which Map-free's baselines train."""

FOLDER_LAYOUT = (
    "SPLIT/pairs.txt (lines `NAME1 NAME2 [overlap]`), SPLIT/cameras.txt (lines `NAME fx fy cx cy qw qx qy qz tx ty "
    "tz`, camera-to-world, metres), SPLIT/images/NAME.jpg, SPLIT/depth/NAME.png (16-bit millimetres)"
)
MAPFREE_LAYOUT = (
    "SPLIT/sXXXXX/ with intrinsics.txt, poses.txt, overlaps.npz, seq0/frame_00000.jpg, seq1/frame_….jpg"
)


def _world(where: Where) -> PairsData:
    world = World(where.root)
    pairs = WorldPairs(world.pairs(where.split))
    return PairsData(spec=where.spec, split=where.split, samples=pairs, size=(world.size, world.size))


def _files(find: Callable[[Path, str], FilePairs]) -> Callable[[Where], PairsData]:
    def opened(where: Where) -> PairsData:
        pairs = find(where.root, where.split)
        return PairsData(spec=where.spec, split=where.split, samples=pairs)

    return opened


def _folder(root: Path, split: str) -> FilePairs:
    folder = need_folder(root / split, FOLDER_LAYOUT)
    cameras = read_cameras(folder / "cameras.txt")
    images = by_stem(list_files(need_folder(folder / "images", FOLDER_LAYOUT)))
    views, overlaps, members = [], [], []
    listing = folder / "pairs.txt"
    for number, line in enumerate(read_list(listing, FOLDER_LAYOUT), start=1):
        words, overlap = line.split(), math.nan
        try:
            overlap = float(words[2]) if len(words) == 3 else math.nan
        except ValueError:
            words = []
        if len(words) not in (2, 3):
            raise DataError(f"{listing}, line {number}: {line!r}. Expected: NAME1 NAME2 [overlap]")
        for name in words[:2]:
            for known, what in ((images, "an image in images/"), (cameras, "a line in cameras.txt")):
                if name not in known:
                    raise DataError(f"{listing}, line {number}: {name!r} has not {what}")
        members.append((words[0], words[1]))
        first, second = (_view(folder, images[name], cameras[name]) for name in words[:2])
        views.append((first, second))
        overlaps.append(overlap)
    return FilePairs(tuple(views), tuple(overlaps), _folder_groups(root, split, members))


def _folder_groups(root: Path, split: str, members: list[tuple[str, str]]) -> Groups:
    """Groups of pairs that share an image or a group of groups.json, directly or through other pairs."""
    names = sorted({name for pair in members for name in pair})
    said = groups_of(
        root, split, names, Groups(tuple(names), f"pairs that share an image (no {GROUPS_FILE})")
    )
    group = dict(zip(names, said.names, strict=True))
    return Groups(joined([(group[first], group[second]) for first, second in members]), said.kind)


def _view(folder: Path, image: Path, camera: tuple[np.ndarray, np.ndarray]) -> ViewFiles:
    depth = any_case(folder / "depth" / f"{image.stem}.png")
    return ViewFiles(image, depth if depth.is_file() else None, *camera)


def read_cameras(path: Path, layout: str = FOLDER_LAYOUT) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Read intrinsics and camera-to-world poses by name, in the order of the lines.

    Raises:
        DataError: if the file is missing (the message shows `layout`) or malformed.
    """
    cameras = {}
    for number, line in enumerate(read_list(path, layout), start=1):
        if line.startswith("#"):
            continue
        name, *fields = line.split()
        try:
            values = [float(field) for field in fields]
        except ValueError:
            values = []
        if len(values) != 11 or not np.isfinite(values).all() or not any(values[4:8]):
            raise DataError(
                f"{path}, line {number}: expected `NAME fx fy cx cy qw qx qy qz tx ty tz`, got {line!r}"
            )
        cameras[name] = (_matrix(*values[:4]), _pose(values[4:8], values[8:]))
    return cameras


def _matrix(fx: float, fy: float, cx: float, cy: float) -> np.ndarray:
    return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


def _pose(quaternion: list[float], translation: list[float]) -> np.ndarray:
    numbers = (torch.tensor(values, dtype=torch.float64) for values in (quaternion, translation))
    rotation, shift = numbers
    return pose_matrix(quaternion_to_matrix(rotation), shift).numpy()


@dataclass(frozen=True)
class MapfreeView(ViewFiles):
    """A frame of Map-free.

    Attributes:
        size: height and width that the intrinsics refer to.
    """

    size: tuple[int, int]

    def read(self) -> PosedImage:
        """Read image and depth.

        Raises:
            DataError: if a file cannot be used, or the image has another size.
        """
        view = super().read()
        if view.image.shape[:2] != self.size:
            height, width = view.image.shape[:2]
            raise DataError(
                f"{self.image} has {height}x{width} pixels and its line in intrinsics.txt says "
                f"{self.size[0]}x{self.size[1]}: they must agree"
            )
        return view


def _mapfree(root: Path, split: str) -> FilePairs:
    folder = need_folder(root / split, MAPFREE_LAYOUT)
    views, overlaps, scenes = [], [], []
    for scene in (path for path in list_folders(folder) if (path / "poses.txt").is_file()):
        cameras = mapfree_cameras(scene)
        for first, second, overlap in _mapfree_pairs(scene):
            if first in cameras and second in cameras:
                views.append((_mapfree_view(scene, first, cameras), _mapfree_view(scene, second, cameras)))
                overlaps.append(overlap)
                scenes.append(scene.name)
    if not views:
        raise DataError(f"{folder}: holds no pairs. Expected layout: {MAPFREE_LAYOUT}")
    return FilePairs(tuple(views), tuple(overlaps), Groups(tuple(scenes), "scenes"))


def _mapfree_pairs(scene: Path) -> list[tuple[str, str, float]]:
    """Names of both frames and their overlap, from overlaps.npz; without it, the reference with every fifth query."""
    path = scene / "overlaps.npz"
    if not path.is_file():
        return [("seq0/frame_00000.jpg", name, math.nan) for name in mapfree_frames(scene)[::5]]
    try:
        with np.load(path, allow_pickle=False) as file:
            rows, overlaps = file["idxs"], file["overlaps"]
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); expected arrays idxs and overlaps") from error
    low, high = MAPFREE_OVERLAP
    return [
        (f"seq{a}/frame_{i:05d}.jpg", f"seq{b}/frame_{j:05d}.jpg", float(overlap))
        for (a, i, b, j), overlap in zip(rows.tolist(), overlaps, strict=True)
        if low < overlap < high
    ]


def mapfree_frames(scene: Path) -> list[str]:
    """Names of the frames of a scene's second sequence, in order."""
    folder = scene / "seq1"
    found = list_files(folder, (".jpg",)) if folder.is_dir() else []
    return [f"seq1/{path.stem}.jpg" for path in found if path.name.startswith("frame_")]


def mapfree_cameras(scene: Path) -> dict[str, tuple[np.ndarray, np.ndarray, tuple[int, int]]]:
    """Intrinsics (3, 3), camera-to-world pose (4, 4) and image size of a scene's frames by name; in pixels and metres.

    Frames whose pose is withheld (not finite, or a quaternion of zeros) are left out.

    Raises:
        DataError: if a file is missing or malformed.
    """
    path, intrinsics = scene / "poses.txt", mapfree_intrinsics(scene)
    cameras = {}
    for number, line in enumerate(read_list(path, MAPFREE_LAYOUT), start=1):
        name, *fields = line.split()
        if "#" in name:
            continue
        try:
            values = [float(field) for field in fields]
        except ValueError:
            values = []
        if len(values) != 7:
            raise DataError(f"{path}, line {number}: expected `frame qw qx qy qz tx ty tz`, got {line!r}")
        if np.isfinite(values).all() and any(values[:4]) and name in intrinsics:
            matrix, size = intrinsics[name]
            cameras[name] = (matrix, np.linalg.inv(_pose(values[:4], values[4:])), size)
    return cameras


def mapfree_intrinsics(scene: Path) -> dict[str, tuple[np.ndarray, tuple[int, int]]]:
    """Intrinsics (3, 3) in pixels, and height and width of the image, of a scene's frames by name.

    Raises:
        DataError: if the file is missing or malformed.
    """
    path = scene / "intrinsics.txt"
    found = {}
    for number, line in enumerate(read_list(path, MAPFREE_LAYOUT), start=1):
        name, *fields = line.split()
        if "#" in name:
            continue
        try:
            fx, fy, cx, cy = map(float, fields[:4])
            width, height = (int(float(field)) for field in fields[4:])
        except ValueError as error:
            raise DataError(
                f"{path}, line {number}: expected `frame fx fy cx cy width height`, got {line!r}"
            ) from error
        found[name] = (_matrix(fx, fy, cx, cy), (height, width))
    return found


def _mapfree_view(
    scene: Path, name: str, cameras: dict[str, tuple[np.ndarray, np.ndarray, tuple[int, int]]]
) -> MapfreeView:
    image = any_case(scene / name)
    depth = any_case(image.with_suffix(".depth.png"))
    return MapfreeView(image, depth if depth.is_file() else None, *cameras[name])


LAYOUTS = {
    "world": Layout(_world, "rooms of the embedded world", ("train", "val", "test")),
    "folder": Layout(_files(_folder), "your own: SPLIT/pairs.txt, cameras.txt, images, depth", ()),
    "mapfree": Layout(_files(_mapfree), "Map-free, with depth maps of your own for training"),
}
"""Layouts by name, the word before the colon."""

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
from pathlib import Path

import numpy as np
import torch

from codistill.errors import DataError
from codistill.files.listing import any_case, by_stem, list_files, list_folders
from codistill.files.npz import read_npz
from codistill.geometry.poses import pose_matrix, quaternion_to_matrix
from codistill.tasks.layout import Layout, Where
from codistill.tasks.shared.data import need_folder, read_list
from codistill.tasks.shared.groups import GROUPS_FILE, Groups, groups_of, joined
from codistill.tasks.two_view.pairs import FilePairs, PairsData, ViewFiles, WorldPairs
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
        if len(words) not in (2, 3) or not (math.isnan(overlap) or 0 <= overlap <= 1):
            raise DataError(
                f"{listing}, line {number}: {line!r}. Expected: NAME1 NAME2 [overlap], the overlap from 0 to 1"
            )
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
        if len(values) != 11 or not np.isfinite(values).all() or not any(values[4:8]) or min(values[:2]) <= 0:
            raise DataError(
                f"{path}, line {number}: expected `NAME fx fy cx cy qw qx qy qz tx ty tz`, fx and fy positive, got "
                f"{line!r}"
            )
        if name in cameras:
            raise DataError(f"{path}, line {number}: a second camera for {name!r}; remove one of the lines")
        cameras[name] = (_matrix(*values[:4]), _pose(values[4:8], values[8:]))
    return cameras


def _matrix(fx: float, fy: float, cx: float, cy: float) -> np.ndarray:
    return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


def _pose(quaternion: list[float], translation: list[float]) -> np.ndarray:
    numbers = (torch.tensor(values, dtype=torch.float64) for values in (quaternion, translation))
    rotation, shift = numbers
    return pose_matrix(quaternion_to_matrix(rotation), shift).numpy()


def _mapfree(root: Path, split: str) -> FilePairs:
    folder = need_folder(root / split, MAPFREE_LAYOUT)
    views, overlaps, scenes = [], [], []
    for scene in mapfree_scenes(folder):
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
    found = read_npz(path, ("idxs", "overlaps"))
    rows, overlaps = (found.get(name, np.empty(0)) for name in ("idxs", "overlaps"))
    if rows.shape != (len(overlaps), 4) or overlaps.ndim != 1 or rows.dtype.kind not in "iu":
        raise DataError(f"{path}: expected arrays idxs, (pair, 4) whole numbers, and overlaps, (pair,)")
    low, high = MAPFREE_OVERLAP
    return [
        (f"seq{a}/frame_{i:05d}.jpg", f"seq{b}/frame_{j:05d}.jpg", float(overlap))
        for (a, i, b, j), overlap in zip(rows.tolist(), overlaps, strict=True)
        if low < overlap < high
    ]


def mapfree_scenes(folder: Path) -> list[Path]:
    """The scenes of a split, by name: folders with poses.txt or intrinsics.txt."""
    return [
        path
        for path in list_folders(folder)
        if any((path / name).is_file() for name in ("poses.txt", "intrinsics.txt"))
    ]


def mapfree_frames(scene: Path) -> list[str]:
    """Names of the frames of a scene's second sequence, in order.

    Raises:
        DataError: if a frame of intrinsics.txt is missing: queries are counted by their place in the sequence.
    """
    folder = scene / "seq1"
    found = list_files(folder, (".jpg",)) if folder.is_dir() else []
    names = [f"seq1/{path.stem}.jpg" for path in found if path.name.startswith("frame_")]
    listed = [name for name in mapfree_intrinsics(scene) if name.startswith("seq1/")]
    missing = sorted(set(listed) - set(names))
    if missing:
        raise DataError(
            f"{scene}: misses {len(missing)} of the {len(listed)} frames of seq1 in intrinsics.txt; the first: "
            f"{missing[0]}. Every fifth frame is a query, so the others must be there, too."
        )
    return names


def mapfree_cameras(scene: Path) -> dict[str, tuple[np.ndarray, np.ndarray, tuple[int, int]]]:
    """By a frame's name, its intrinsics (3, 3), camera-to-world pose (4, 4), and rows and columns; pixels, metres.

    Frames whose pose is withheld (not finite, or a quaternion of zeros) are left out.

    Raises:
        DataError: if a file is missing or malformed, or a frame has no intrinsics.
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
        if np.isfinite(values).all() and any(values[:4]):
            if name not in intrinsics:
                raise DataError(f"{scene / 'intrinsics.txt'}: has no line for {name}, whose pose is known")
            matrix, shape = intrinsics[name]
            cameras[name] = (matrix, np.linalg.inv(_pose(values[:4], values[4:])), shape)
    return cameras


def mapfree_intrinsics(scene: Path) -> dict[str, tuple[np.ndarray, tuple[int, int]]]:
    """Intrinsics (3, 3) of a scene's frames by name, in pixels, with the rows and columns that they are stated for.

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
            values = [float(field) for field in fields]
        except ValueError:
            values = []
        if len(values) != 6 or not np.isfinite(values).all() or min(*values[:2], *values[4:]) <= 0:
            raise DataError(
                f"{path}, line {number}: expected `frame fx fy cx cy width height`, all but cx and cy positive, got "
                f"{line!r}"
            )
        found[name] = (_matrix(*values[:4]), (round(values[5]), round(values[4])))
    return found


def _mapfree_view(
    scene: Path, name: str, cameras: dict[str, tuple[np.ndarray, np.ndarray, tuple[int, int]]]
) -> ViewFiles:
    image = any_case(scene / name)
    depth = any_case(image.with_suffix(".depth.png"))
    matrix, pose, shape = cameras[name]
    return ViewFiles(image, depth if depth.is_file() else None, matrix, pose, shape=shape)


LAYOUTS = {
    "world": Layout(_world, "rooms of the embedded world", ("train", "val", "test")),
    "folder": Layout(_files(_folder), "your own: SPLIT/pairs.txt, cameras.txt, images, depth", ()),
    "mapfree": Layout(_files(_mapfree), "Map-free, with depth maps of your own for training"),
}
"""Layouts by name, the word before the colon."""

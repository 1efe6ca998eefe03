"""The 1500 test pairs of ScanNet (SuperGlue's list, as LoFTR packs it).

scannet:ROOT    ROOT/test.npz                 `name` (pair, 4): room, sequence, frame, frame
                ROOT/intrinsics.npz           (3, 3) of each scene by its name, of the pictures' size
                ROOT/sceneRRRR_SS/color/FRAME.jpg
                ROOT/sceneRRRR_SS/depth/FRAME.png    16-bit millimetres along z, 0 unknown, the pictures' size
                ROOT/sceneRRRR_SS/pose/FRAME.txt     4x4, camera-to-world, metres
"""

import math
from pathlib import Path

import numpy as np

from codistill.errors import DataError
from codistill.files.npz import read_npz
from codistill.tasks.layout import TaskData, Where
from codistill.tasks.shared.data import check_count, need_folder, read_list
from codistill.tasks.shared.groups import Groups
from codistill.tasks.two_view.pairs import FilePairs, ViewFiles

SCANNET_LAYOUT = (
    "test.npz, intrinsics.npz, sceneRRRR_SS/{color/FRAME.jpg, depth/FRAME.png (16-bit millimetres), pose/FRAME.txt "
    "(4x4, camera-to-world)}: scannet_test_1500 with its lists beside the scenes"
)
PAIRS = 1500


def open_scannet(where: Where) -> TaskData:
    """Open the pairs of the list; one group per room.

    Raises:
        DataError: if files are missing or damaged, or the list is another one (with `partial`, pairs without files are
            left out).
    """
    root = need_folder(where.root, SCANNET_LAYOUT)
    rows = read_npz(root / "test.npz", ("name",)).get("name")
    if rows is None or rows.ndim != 2 or rows.shape[1] != 4 or rows.dtype.kind not in "iu":
        raise DataError(
            f"{root / 'test.npz'}: expected `name`, (pair, 4) whole numbers: room, sequence, frame, frame"
        )
    scenes = [f"scene{room:04d}_{sequence:02d}" for room, sequence in rows[:, :2].tolist()]
    intrinsics = read_npz(root / "intrinsics.npz", sorted(set(scenes)))
    views, rooms = [], []
    for scene, frames in zip(scenes, rows[:, 2:].tolist(), strict=True):
        places = [(root / scene, frame) for frame in frames]
        if scene in intrinsics and all((at / "color" / f"{frame}.jpg").is_file() for at, frame in places):
            first, second = (_view(at, frame, intrinsics[scene]) for at, frame in places)
            views.append((first, second))
            rooms.append(scene.partition("_")[0])
    check_count(len(views), PAIRS, f"{where.spec} ({SCANNET_LAYOUT})", where.partial, "pairs")
    samples = FilePairs(tuple(views), (math.nan,) * len(views), Groups(tuple(rooms), "rooms"))
    lost = len(rows) - len(views)
    notes = (f"{lost} of {len(rows)} pairs lack images or intrinsics, and are left out",) if lost else ()
    return TaskData(spec=where.spec, split=where.split, samples=samples, notes=notes)


def _view(scene: Path, frame: int, intrinsics: np.ndarray) -> ViewFiles:
    path = scene / "pose" / f"{frame}.txt"
    try:
        pose = np.array([line.split() for line in read_list(path, SCANNET_LAYOUT)], dtype=np.float64)
    except ValueError as error:
        raise DataError(f"{path}: expected numbers ({error})") from error
    if pose.shape != (4, 4) or not np.isfinite(pose).all() or intrinsics.shape[0] < 3:
        raise DataError(f"{path}: expected a camera-to-world pose, four lines of four finite numbers")
    image, depth = scene / "color" / f"{frame}.jpg", scene / "depth" / f"{frame}.png"
    return ViewFiles(image, depth, intrinsics[:3, :3].astype(np.float64), pose)

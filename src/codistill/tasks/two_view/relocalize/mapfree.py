"""Predict a Map-free submission for every query of a split; `metrics.mapfree_submission` scores it.

Queries are every fifth frame of seq1 in the order of their names; each is located relative to seq0/frame_00000.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from codistill.errors import DataError
from codistill.files.listing import any_case, list_folders
from codistill.geometry.estimate import PoseEstimate
from codistill.geometry.poses import matrix_to_quaternion
from codistill.metrics.mapfree_submission import EVALUATE_EVERY, SubmittedPose
from codistill.tasks.shared.data import need_folder
from codistill.tasks.two_view.layouts import MAPFREE_LAYOUT, MapfreeView, mapfree_frames, mapfree_intrinsics
from codistill.tasks.two_view.pairs import Pair, PosedImage

REFERENCE = "seq0/frame_00000.jpg"


def mapfree_queries(split: Path) -> list[tuple[Path, str]]:
    """Scene folders and names of the frames to locate.

    Raises:
        DataError: if the folder contains no scene.
    """
    folder = need_folder(split, MAPFREE_LAYOUT)
    scenes = [path for path in list_folders(folder) if (path / "intrinsics.txt").is_file()]
    found = [(scene, name) for scene in scenes for name in mapfree_frames(scene)[::EVALUATE_EVERY]]
    if not found:
        raise DataError(
            f"{split}: holds no scene with queries. Name the split, e.g. ROOT/val; layout: {MAPFREE_LAYOUT}"
        )
    return found


def predict_mapfree(
    split: Path,
    method: Callable[[Pair], PoseEstimate | None],
    *,
    limit: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, list[SubmittedPose]]:
    """Predict a submission: poses by scene; frames without an estimate are left out, but no scene is.

    Args:
        split: folder of scenes.
        method: estimates the query's pose from reference and query; may return None.
        limit: number of queries to locate; the others count as failures.
        progress: called with the number of queries done and their total.

    Raises:
        DataError: if the folder or an image cannot be used.
    """
    queries = mapfree_queries(split)
    poses: dict[str, list[SubmittedPose]] = {scene.name: [] for scene, _ in queries}
    chosen = queries if limit is None else queries[:limit]
    for done, (scene, name, pair) in enumerate(_pairs(chosen), start=1):
        found = method(pair)
        if found is not None:
            quaternion = matrix_to_quaternion(torch.from_numpy(found.rotation)).tolist()
            poses[scene].append(
                SubmittedPose(name, tuple(quaternion), tuple(found.translation.tolist()), found.confidence)
            )
        progress(done, len(chosen))
    return poses


def _pairs(queries: list[tuple[Path, str]]) -> Iterator[tuple[str, str, Pair]]:
    """Scene, name and pair of each query; the reference of a scene is read once."""
    current: Path | None = None
    reference: PosedImage | None = None
    intrinsics: dict[str, tuple[np.ndarray, tuple[int, int]]] = {}
    for scene, name in queries:
        if scene != current:
            current, intrinsics = scene, mapfree_intrinsics(scene)
            reference = _view(scene, REFERENCE, intrinsics)
        assert reference is not None
        yield (
            scene.name,
            name,
            Pair(reference, _view(scene, name, intrinsics), float("nan"), f"{scene.name}/{name}"),
        )


def _view(scene: Path, name: str, intrinsics: dict[str, tuple[np.ndarray, tuple[int, int]]]) -> PosedImage:
    if name not in intrinsics:
        raise DataError(f"{scene / 'intrinsics.txt'}: has no line for {name}")
    matrix, size = intrinsics[name]
    return MapfreeView(any_case(scene / name), None, matrix, np.eye(4), size).read()

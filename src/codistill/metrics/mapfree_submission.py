"""Map-free files: read poses and intrinsics of a data set; read, write and score submissions.

A submission is a zip with one `pose_SCENE.txt` per scene, with lines `seq1/frame_00005.jpg qw qx qy qz tx ty tz
confidence` of world-to-camera poses. Scoring follows the published code, including its peculiarities: a frame is
identified by its five-digit number alone, so that seq1/frame_00000 takes the place of seq0/frame_00000 in the order;
every fifth frame of the order is evaluated; a scene missing from the zip counts *all* its frames as failures.
"""

import io
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from codistill.errors import DataError
from codistill.metrics.relocalization import (
    VCRE_THRESHOLDS,
    FrameErrors,
    RelocalizationScores,
    SceneErrors,
    aggregate,
    frame_errors,
)

EVALUATE_EVERY = 5


@dataclass(frozen=True)
class SubmittedPose:
    """One line of a submission.

    Attributes:
        name: name of the frame, e.g. `seq1/frame_00005.jpg`.
        quaternion: w, x, y, z of the world-to-camera rotation.
        translation: translation of the world-to-camera pose, metres.
        confidence: at least 0, higher is better.
    """

    name: str
    quaternion: tuple[float, float, float, float]
    translation: tuple[float, float, float]
    confidence: float


@dataclass(frozen=True)
class SceneIntrinsics:
    """Camera matrices by frame number, and the scene's image size (width, height), that of the file's last line."""

    matrices: dict[int, np.ndarray]
    size: tuple[int, int]


@dataclass(frozen=True)
class SubmissionScores:
    """Scores of a submission, the errors of its scenes, and warnings on ignored parts."""

    scores: RelocalizationScores
    scenes: tuple[SceneErrors, ...]
    warnings: tuple[str, ...]


def read_poses(
    lines: Iterable[str], where: str, *, with_confidence: bool
) -> tuple[dict[int, np.ndarray], list[str]]:
    """Read poses by frame number, in the order in which numbers first appear.

    Args:
        lines: lines of a `poses.txt` (7 numbers) or of a submission (7 numbers and a confidence).
        where: name of the file in warnings.
        with_confidence: whether a confidence is expected.

    Returns:
        Arrays qw qx qy qz tx ty tz [confidence] by number, and a warning per ignored line. Lines with `#` in the
        name are comments.

    Raises:
        DataError: for a negative confidence.
    """
    width = 8 if with_confidence else 7
    poses: dict[int, np.ndarray] = {}
    warnings = []
    for number, line in enumerate(lines, start=1):
        name, *fields = line.rstrip("\r\n").split(" ")
        if "#" in name or not line.strip():
            continue
        reason = None
        try:
            values = np.array([float(field) for field in fields])
            key = int(name[-9:-4])
        except ValueError:
            reason, values, key = "not a frame name followed by numbers", np.zeros(0), -1
        if reason is None and len(values) != width:
            reason = f"{len(values)} numbers instead of {width}, separated by single spaces"
        elif reason is None and not np.isfinite(values).all():
            reason = "a number that is not finite"
        elif reason is None and not np.linalg.norm(values[:4]) > 0:
            reason = "a quaternion of norm 0"
        if reason is not None:
            warnings.append(f"{where}, line {number}: ignored ({reason})")
            continue
        if with_confidence and values[7] < 0:
            raise DataError(
                f"{where}, line {number}: confidence {values[7]:g} is negative; confidences are at least 0, higher "
                "is better"
            )
        poses[key] = values
    return poses, warnings


def read_intrinsics(path: Path) -> SceneIntrinsics:
    """Read an `intrinsics.txt` with lines `frame fx fy cx cy width height`.

    Raises:
        DataError: if it is missing, empty or malformed.
    """
    matrices: dict[int, np.ndarray] = {}
    size = None
    for number, line in enumerate(_lines(path), start=1):
        if "#" in line or not line.strip():
            continue
        try:
            name, *fields = line.split()
            fx, fy, cx, cy, width, height = map(float, fields)
            key = int(name[-9:-4])
        except ValueError as error:
            raise DataError(
                f"{path}, line {number}: expected `frame fx fy cx cy width height`, got {line.strip()!r}"
            ) from error
        # fp32 as in the benchmark, which is visible in the 8th digit of the VCRE
        matrices[key] = np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]], dtype=np.float32)
        size = (int(width), int(height))
    if size is None:
        raise DataError(f"{path}: holds no intrinsics")
    return SceneIntrinsics(matrices, size)


def write_submission(path: str | Path, scenes: Mapping[str, Iterable[SubmittedPose]]) -> None:
    """Write a submission as a zip.

    Args:
        path: path of the zip.
        scenes: poses by scene (`s00460`). Leave out frames without an estimate, but keep scenes without any: a scene
            missing from the zip counts five times as many failures.

    Raises:
        DataError: for a pose that the benchmark would reject.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for scene, poses in scenes.items():
            lines = []
            for pose in poses:
                numbers = (*pose.quaternion, *pose.translation, pose.confidence)
                if not np.isfinite(numbers).all() or not any(pose.quaternion) or pose.confidence < 0:
                    raise DataError(
                        f"scene {scene}, {pose.name}: {numbers} cannot be submitted; numbers must be finite, the "
                        "quaternion not zero, the confidence at least 0. Leave the frame out instead."
                    )
                lines.append(" ".join([pose.name, *(f"{number:.9f}" for number in numbers)]) + "\n")
            archive.writestr(f"pose_{scene}.txt", "".join(lines))


def knows_queries(dataset: Path) -> bool:
    """Whether the pose of any query is known; the benchmark withholds those of its test scenes.

    Raises:
        DataError: if a file cannot be read.
    """
    for path in sorted(dataset.glob("*/poses.txt")):
        queries = (line for line in _lines(path) if not line.startswith("seq0/"))
        if read_poses(queries, str(path), with_confidence=False)[0]:
            return True
    return False


def score_submission(
    dataset: str | Path, submission: str | Path, thresholds: tuple[float, ...] = VCRE_THRESHOLDS
) -> SubmissionScores:
    """Score a submission against the ground truth of a data set.

    Args:
        dataset: folder of scenes, each with `poses.txt` and `intrinsics.txt` (e.g. ROOT/val).
        submission: the zip, or a folder with the same files.
        thresholds: thresholds on the VCRE, pixels.

    Raises:
        DataError: if either cannot be read, or the poses of the queries are withheld.
    """
    dataset, submission = Path(dataset), Path(submission)
    names = sorted(folder.name for folder in dataset.glob("*") if (folder / "poses.txt").is_file())
    if not names:
        raise DataError(
            f"{dataset}: holds no scene (a folder with poses.txt and intrinsics.txt). Name the split, e.g. ROOT/val."
        )
    if not knows_queries(dataset):  # the reference's own pose would be taken for that of seq1/frame_00000
        raise DataError(
            f"{dataset}: the poses of all queries are withheld, as in the benchmark's test split, so nothing can be "
            "scored here: send the submission to the benchmark, or score another split"
        )
    submitted = _read_submission(submission)
    warnings = [
        f"{submission}: scene {name} is not in the data set" for name in sorted(submitted.keys() - names)
    ]
    scenes = []
    for name in names:
        errors, found = _score_scene(dataset / name, submitted.get(name), f"{submission}: pose_{name}.txt")
        scenes.append(errors)
        warnings += found
    return SubmissionScores(aggregate(scenes, thresholds), tuple(scenes), tuple(warnings))


def evaluated_frames(poses: Mapping[int, np.ndarray]) -> list[int]:
    """The frame numbers that are evaluated: every fifth in the file's order."""
    return list(poses)[::EVALUATE_EVERY]


def _score_scene(folder: Path, lines: list[str] | None, where: str) -> tuple[SceneErrors, list[str]]:
    truth, warnings = read_poses(
        _lines(folder / "poses.txt"), str(folder / "poses.txt"), with_confidence=False
    )
    warnings = [w for w in warnings if "norm 0" not in w and "not finite" not in w]  # withheld truth
    if lines is None:
        nothing = FrameErrors(*torch.zeros(4, 0, dtype=torch.float64))
        return SceneErrors(folder.name, nothing, len(truth)), [*warnings, f"{where} is missing"]
    estimates, ignored = read_poses(lines, where, with_confidence=True)
    intrinsics = read_intrinsics(folder / "intrinsics.txt")
    wanted = evaluated_frames(truth)
    frames = [frame for frame in wanted if frame in estimates]
    unknown = [frame for frame in frames if frame not in intrinsics.matrices]
    if unknown:
        raise DataError(f"{folder / 'intrinsics.txt'}: has no line for frame {unknown[0]:05d}")
    estimate = _stacked([estimates[frame] for frame in frames], 8)
    errors = frame_errors(
        estimate[:, :7],
        _stacked([truth[frame] for frame in frames], 7),
        estimate[:, 7],
        _stacked([intrinsics.matrices[frame] for frame in frames], 3, 3),
        intrinsics.size,
    )
    return SceneErrors(folder.name, errors, len(wanted) - len(frames)), [*warnings, *ignored]


def _stacked(arrays: list[np.ndarray], *shape: int) -> torch.Tensor:
    return torch.from_numpy(np.array(arrays, dtype=np.float64).reshape(-1, *shape))


def _read_submission(path: Path) -> dict[str, list[str]]:
    """Lines of the pose files in a zip or folder, by scene."""
    if path.is_dir():
        texts = {file.name: file.read_bytes() for file in path.glob("pose_*.txt")}
    else:
        try:
            with zipfile.ZipFile(path) as archive:
                inside = [name for name in archive.namelist() if name.startswith("pose_")]
                texts = {name: archive.read(name) for name in inside}
        except (OSError, zipfile.BadZipFile) as error:
            raise DataError(
                f"{path}: cannot be read as a submission ({error}). Expected a zip, or a folder, with one "
                "pose_SCENE.txt per scene at its root."
            ) from error
    found = {
        name.removeprefix("pose_").removesuffix(".txt"): text
        for name, text in texts.items()
        if name.endswith(".txt") and "/" not in name
    }
    if not found:
        raise DataError(
            f"{path}: holds no pose_SCENE.txt at its root. Zip the files themselves, not the folder around them."
        )
    lines = {}
    for scene, text in found.items():
        try:
            lines[scene] = list(io.StringIO(text.decode("utf-8")))
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: pose_{scene}.txt is not UTF-8 text") from error
    return lines


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error

"""Read and check one label file in BEDLAM's format: from an npz to people by image, and reasons for what is left out.

A row is one person in one image: imgname, pose_cam (165 axis-angle numbers: root, 21 body, jaw, eyes, left and right
hand), shape (the first coefficients of the neutral SMPL-X, at most 300), trans_cam, cam_int (3, 3), and, in BEDLAM,
cam_ext and gender. Coordinates are those of the camera, metres.
Source: the label files of BEDLAM (CVPR 2023).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from codistill.bodies.smplx import MAX_SHAPE
from codistill.errors import DataError
from codistill.files.npz import read_npz

NUMBERS = 165
NEAREST = 0.01
"""Distance in metres: nearer people, and people behind the camera, are left out."""

_NEEDED = ("imgname", "pose_cam", "shape", "trans_cam", "cam_int")
_OPTIONAL = ("cam_ext", "gender", "model_type")
_OTHER_MODELS = {72: "SMPL's", 66: "SMPL-X's without jaw, eyes and hands", 156: "SMPL+H's"}
_NEUTRAL = frozenset({"", "n", "neutral"})


@dataclass(frozen=True)
class Rows:
    """The people of one image, (person, …) float32; `shape` has as many coefficients as the file."""

    pose: np.ndarray
    shape: np.ndarray
    translation: np.ndarray
    intrinsics: np.ndarray


@dataclass(frozen=True)
class LabelFile:
    """Contents of a label file.

    Attributes:
        images: people by image name, sorted.
        left_out: reasons for leaving images out, each with its first row and the number of images.
    """

    images: Mapping[str, Rows]
    left_out: tuple[str, ...]


def read_labels(file: Path) -> LabelFile:
    """Read the people in a label file.

    One unusable row drops its whole image, so that no visible person is unlabelled.

    Raises:
        DataError: if the file is damaged, lacks an array, or its arrays disagree or are of another body model.
    """
    data = read_npz(file, (*_NEEDED, *_OPTIONAL))
    _check_arrays(file, data)
    translation = data["trans_cam"].astype(np.float64)
    if "cam_ext" in data:
        translation = translation + data["cam_ext"][:, :3, 3].astype(np.float64)
    names = np.char.strip(_texts(data["imgname"]))
    reasons = _reasons(data, translation, names)
    bad_images, left_out = set(), []
    for reason, rows in reasons.items():
        touched = set(names[rows].tolist()) - bad_images
        bad_images |= touched
        if touched:
            left_out.append(f"row {int(rows[0])}: {reason} ({len(rows)} such rows, {len(touched)} images)")
    seen = translation[:, 2] > NEAREST
    used = seen & ~np.isin(names, list(bad_images)) if bad_images else seen
    arrays = [data["pose_cam"], data["shape"], translation, data["cam_int"]]
    pose, shape, place, cameras = (array.astype(np.float32) for array in arrays)
    images = {
        name: Rows(pose[part], shape[part], place[part], cameras[part])
        for name, part in _parts(names, np.flatnonzero(used))
    }
    return LabelFile(images, tuple(left_out))


def _parts(names: np.ndarray, rows: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Rows by image: images sorted by name, rows in file order."""
    rows = rows[np.argsort(names[rows], kind="stable")]
    distinct, starts = np.unique(names[rows], return_index=True)
    ends = [*starts[1:], len(rows)]
    return [
        (str(name), rows[i:j]) for name, i, j in zip(distinct, starts, ends[: len(distinct)], strict=True)
    ]


def _texts(values: np.ndarray) -> np.ndarray:
    return np.char.decode(values, "utf-8") if values.dtype.kind == "S" else values.astype(str)


def _check_arrays(file: Path, data: Mapping[str, np.ndarray]) -> None:
    """Raise DataError unless the arrays are SMPL-X labels of equal length."""
    missing = [name for name in _NEEDED if name not in data]
    if missing:
        raise DataError(
            f"{file}: is no label file of BEDLAM's kind: it misses {', '.join(missing)}. Expected {', '.join(_NEEDED)}."
        )
    count = data["imgname"].size
    pose, shape = data["pose_cam"].shape, data["shape"].shape
    expected: dict[str, tuple[int, ...]] = {
        "imgname": (count,),
        "pose_cam": (count, NUMBERS),
        "shape": (count, shape[1] if len(shape) == 2 and 1 <= shape[1] <= MAX_SHAPE else 11),
        "trans_cam": (count, 3),
        "cam_int": (count, 3, 3),
        "cam_ext": (count, 4, 4),
        "gender": (count,),
    }
    wrong = [
        f"{name} is {data[name].shape}, expected {wanted}"
        for name, wanted in expected.items()
        if name in data and data[name].shape != wanted
    ]
    wrong += [
        f"{name} holds {data[name].dtype}, expected numbers"
        for name in ("pose_cam", "shape", "trans_cam", "cam_int", "cam_ext")
        if name in data and data[name].dtype.kind not in "fiu"
    ]
    if data["imgname"].dtype.kind not in "SU":
        wrong.append(f"imgname holds {data['imgname'].dtype}, expected text")
    if len(pose) == 2 and pose[1] in _OTHER_MODELS:
        wrong.append(f"{pose[1]} pose numbers are {_OTHER_MODELS[pose[1]]}, only SMPL-X's {NUMBERS} are read")
    if wrong:
        raise DataError(
            f"{file}: is no label file of BEDLAM's kind: {'; '.join(wrong)}. Expected pose_cam as (person, {NUMBERS}), "
            f"shape as (person, 1 to {MAX_SHAPE}), trans_cam as (person, 3), cam_int as (person, 3, 3)."
        )
    _check_model(file, data)


def _check_model(file: Path, data: Mapping[str, np.ndarray]) -> None:
    models = {str(value).strip().lower() for value in np.ravel(data.get("model_type", np.array([], str)))}
    if models - {"smplx", "smpl-x", ""}:
        raise DataError(
            f"{file}: says model_type {sorted(models)}; only SMPL-X labels are read. Convert them to SMPL-X first."
        )


def _reasons(
    data: Mapping[str, np.ndarray], translation: np.ndarray, names: np.ndarray
) -> dict[str, np.ndarray]:
    """Masks of unusable rows, by reason."""
    finite = {name: data[name] for name in ("pose_cam", "shape", "cam_int")} | {"translation": translation}
    found = {
        f"{name} is not finite": ~np.isfinite(values.astype(np.float64)).reshape(len(names), -1).all(1)
        for name, values in finite.items()
    }
    cameras = data["cam_int"].astype(np.float64)
    found["cam_int has no positive focal lengths"] = ~((cameras[:, 0, 0] > 0) & (cameras[:, 1, 1] > 0))
    found["cam_int is no camera matrix (its last row must be 0 0 1)"] = ~np.isclose(
        cameras[:, 2], [0.0, 0.0, 1.0], atol=1e-6
    ).all(1)
    found["another cam_int than the image's first row"] = _differs_within(
        names, cameras.reshape(len(names), -1)
    )
    found["an empty imgname"] = names == ""
    if "gender" in data:
        genders = np.char.lower(np.char.strip(_texts(data["gender"])))
        for gender in sorted(set(genders.tolist()) - _NEUTRAL):
            reason = (
                f"gender {gender!r}: its shape numbers belong to that SMPL-X model, and only the neutral one is read "
                "(if they are the neutral model's, take the gender array out of the file)"
            )
            found[reason] = genders == gender
    return {reason: np.flatnonzero(rows) for reason, rows in found.items() if rows.any()}


def _differs_within(names: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Mask of the rows that differ from the first row with the same name."""
    _, first, inverse = np.unique(names, return_index=True, return_inverse=True)
    return np.logical_not(
        np.isclose(values, values[first[inverse]], rtol=1e-5, atol=1e-4, equal_nan=True).all(1)
    )

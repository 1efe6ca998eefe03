"""BEDLAM, and AGORA in BEDLAM's processed form: one npz per sequence in, SMPL-X people of whole images out.

    BEDLAM/training_labels/**/NAME.npz      BEDLAM/training_images/NAME/png/IMGNAME
    BEDLAM/validation_labels/**/NAME.npz    BEDLAM/validation_images/NAME/png/IMGNAME
    AGORA/train_labels/**/*.npz             AGORA/train_images/**/IMGNAME    (and val_…)

A row of an npz is one person in one image: imgname, pose_cam (165 axis-angle numbers: root, 21 body, jaw, eyes, left
and right hand), shape, trans_cam, cam_int (3, 3), and, in BEDLAM, cam_ext. Coordinates are the camera's, metres; the
labels' pixels start at the image's corner. Images of sequences called `closeup` are stored lying on their side.
Source: the label files of BEDLAM (CVPR 2023); the reading of them: Multi-HMR (arXiv 2402.14654).
"""

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from codistill.bodies.load import load_body
from codistill.bodies.smplx import SmplxBody
from codistill.errors import DataError
from codistill.heads.human_mesh.rotations import rotation_from_vector
from codistill.imaging import read_rgb
from codistill.tasks.frozen.groups import Groups
from codistill.tasks.people.sample import PeopleImage, PeopleImages, Skeleton, make_truth

POSE_PARTS = (slice(0, 66), slice(75, 120), slice(120, 165), slice(66, 69))
"""Of `pose_cam`, in the order of `SmplxBody.forward`: root and body, left hand, right hand, jaw; eyes stay."""

NUMBERS = 165
SHAPES = 11
NEAREST = 0.01
"""Metres: people nearer than that, or behind the camera, are left out."""

_NEEDED = ("imgname", "pose_cam", "shape", "trans_cam", "cam_int")


@dataclass(frozen=True)
class Rows:
    """People of one image, (person, …) float32."""

    pose: np.ndarray
    shape: np.ndarray
    translation: np.ndarray
    intrinsics: np.ndarray


@dataclass(frozen=True)
class SmplxImages:
    """Images with SMPL-X labels.

    Attributes:
        images: (file, whether it lies on its side, people) each.
        body: SMPL-X: joints follow from the parameters.
        kind: of its groups.
    """

    images: tuple[tuple[Path, bool, Rows], ...]
    body: SmplxBody
    kind: Literal["sequences", "places"]

    @property
    def groups(self) -> Groups:
        """BEDLAM's sequences, by their folders; AGORA's places, of which several cameras see several crowds."""
        if self.kind == "sequences":
            names = [str(path.parent) for path, _, _ in self.images]
        else:
            names = [re.sub(r"_cam\d+_.*", "", path.name) for path, _, _ in self.images]
        return Groups(tuple(names), self.kind)

    def __len__(self) -> int:
        return len(self.images)

    @torch.no_grad()
    def __getitem__(self, index: int) -> PeopleImage:
        path, lying, rows = self.images[index]
        image = read_rgb(path)
        if lying:
            image = np.ascontiguousarray(np.rot90(image, -1))
        pose = torch.from_numpy(np.concatenate([rows.pose[:, part] for part in POSE_PARTS], axis=1))
        rotmat = rotation_from_vector(pose.unflatten(1, (-1, 3)))
        shape = torch.from_numpy(rows.shape[:, : self.body.n_shape])
        pelvis = self.body.rest_pelvis(shape) + torch.from_numpy(rows.translation)
        _, joints = self.body(rotmat, shape)
        truth = make_truth(Skeleton.of(self.body), joints + pelvis[:, None], rotmat=rotmat, shape=shape)
        intrinsics = torch.from_numpy(rows.intrinsics[0]).clone()
        intrinsics[:2, 2] -= 0.5  # from the image's corner to the first pixel's centre
        return PeopleImage(image, intrinsics, truth, path.name)


def open_bedlam(root: Path, split: str, partial: bool) -> tuple[PeopleImages, SmplxBody]:
    """A split of BEDLAM; see the module's text for the layout.

    Raises:
        DataError: if it lies otherwise, a label file is damaged, or images are missing and `partial` is not set.
    """
    word = {"train": "training", "val": "validation"}.get(split)
    if word is None:
        raise DataError(f"{root}: BEDLAM has the splits train and val; got {split!r}")
    return _opened(root, f"{word}_labels", f"{word}_images", "png", partial)


def open_agora(root: Path, split: str, partial: bool) -> tuple[PeopleImages, SmplxBody]:
    """A split of AGORA, with BEDLAM's processed labels; errors as for BEDLAM."""
    if split not in ("train", "val"):
        raise DataError(f"{root}: AGORA has the splits train and val; got {split!r}")
    return _opened(root, f"{split}_labels", f"{split}_images", None, partial)


def _opened(
    root: Path, labels: str, images: str, inner: str | None, partial: bool
) -> tuple[PeopleImages, SmplxBody]:
    files = sorted((root / labels).rglob("*.npz"))
    if not files:
        raise DataError(
            f"{root}: no label files {labels}/**/*.npz. Expected layout: {labels}/**/NAME.npz and "
            f"{images}/{f'NAME/{inner}/IMGNAME' if inner else '**/IMGNAME'}"
        )
    found: list[tuple[Path, bool, Rows]] = []
    by_name = {} if inner else {path.name: path for path in (root / images).rglob("*.png")}
    for file in files:
        for name, rows in people_of(file).items():
            path = root / images / file.stem / inner / name if inner else by_name.get(Path(name).name)
            found.append((path or root / images / name, "closeup" in file.stem, rows))
    missing = [path for path, _, _ in found if not path.is_file()]
    if missing and not partial:
        raise DataError(
            f"{root}: {len(missing)} of {len(found)} labelled images are missing; the first: {missing[0]}. Complete "
            "the download, or use what is there with --partial."
        )
    gone = set(missing)
    kept = tuple(one for one in found if one[0] not in gone)
    body = load_body("smplx", n_shape=SHAPES)
    assert isinstance(body, SmplxBody)
    return SmplxImages(kept, body, "sequences" if inner else "places"), body


def people_of(file: Path) -> dict[str, Rows]:
    """People by image name, in the order of the names, of a label file.

    Raises:
        DataError: if it is damaged or lacks something.
    """
    try:
        with np.load(file, allow_pickle=False) as archive:
            data = {name: archive[name] for name in (*_NEEDED, "cam_ext") if name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{file}: cannot be read as an .npz file of plain arrays ({error})") from error
    missing = [name for name in _NEEDED if name not in data]
    count = len(data.get("imgname", ()))
    if missing or data["pose_cam"].shape != (count, NUMBERS) or data["cam_int"].shape != (count, 3, 3):
        raise DataError(
            f"{file}: is no label file of BEDLAM's kind: it {f'misses {missing}' if missing else 'has other shapes'}. "
            f"Expected {', '.join(_NEEDED)}, pose_cam as (person, {NUMBERS}), cam_int as (person, 3, 3)."
        )
    translation = data["trans_cam"].astype(np.float32)
    if "cam_ext" in data:
        translation = translation + data["cam_ext"][:, :3, 3].astype(np.float32)
    pose, shape, cameras = (data[name].astype(np.float32) for name in ("pose_cam", "shape", "cam_int"))
    names = data["imgname"].astype(str)
    seen = translation[:, 2] > NEAREST
    order = np.argsort(names[seen], kind="stable")
    rows = np.flatnonzero(seen)[order]
    distinct, starts = np.unique(names[rows], return_index=True)
    parts = np.split(rows, starts[1:])
    return {
        str(name): Rows(pose[part], shape[part], translation[part], cameras[part])
        for name, part in zip(distinct, parts, strict=True)
        if len(part)
    }

"""Open BEDLAM, and AGORA in BEDLAM's processed form: from one npz per sequence to images with all their SMPL-X people.

    BEDLAM/training_labels/**/NAME.npz      BEDLAM/training_images/NAME/png/IMGNAME
    BEDLAM/validation_labels/**/NAME.npz    BEDLAM/validation_images/NAME/png/IMGNAME
    AGORA/train_labels/**/*.npz             AGORA/train_images/**/IMGNAME    (and val_…)

Label files are read and checked in `smplx_labels.py`; unusable files are noted, and the others used. The labels' pixel
coordinates start at the image's corner. Images of sequences called `closeup` are stored rotated by 90 degrees.
Source: the label files of BEDLAM (CVPR 2023); the reading of them: Multi-HMR (arXiv 2402.14654).
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from codistill.bodies.load import load_body
from codistill.bodies.smplx import SmplxBody
from codistill.errors import DataError
from codistill.files.listing import any_case, list_files
from codistill.geometry.rotations import rotation_from_vector
from codistill.imaging import read_rgb
from codistill.tasks.people.sample import PeopleImage, Skeleton, make_truth
from codistill.tasks.people.smplx_labels import LabelFile, Rows, read_labels
from codistill.tasks.shared.groups import Groups
from codistill.tasks.shared.inputs import SampleInputs, content_hash

POSE_PARTS = (slice(0, 66), slice(75, 120), slice(120, 165), slice(66, 69))
"""Parts of `pose_cam` in the order of `SmplxBody.forward`: root and body, left hand, right hand, jaw; no eyes."""

LEAST_SHAPES = 10
"""Number of shape coefficients of the body, unless a file has more; files with fewer are padded with zeros."""

_SHOWN = 5


@dataclass(frozen=True)
class SmplxImages:
    """Images with SMPL-X labels.

    Attributes:
        images: file, whether it is stored rotated, and people of each image.
        body: SMPL-X with as many shape coefficients as the widest label; joints are computed from the parameters.
        kind: name of its groups.
        notes: what was left out of the label files or padded.
    """

    images: tuple[tuple[Path, bool, Rows], ...]
    body: SmplxBody
    kind: Literal["sequences", "places"]
    notes: tuple[str, ...] = ()

    @property
    def groups(self) -> Groups:
        """BEDLAM's sequences, by their folders; AGORA's places, each with several cameras and several crowds."""
        if self.kind == "sequences":
            names = [str(path.parent) for path, _, _ in self.images]
        else:
            names = [re.sub(r"_cam\d+_.*", "", path.name) for path, _, _ in self.images]
        return Groups(tuple(names), self.kind)

    def __len__(self) -> int:
        return len(self.images)

    def on(self, body: SmplxBody) -> "SmplxImages":
        """The same images, with a body model of more shape coefficients than the labels.

        Raises:
            DataError: if it has fewer: cutting the labels would change the bodies.
        """
        widest = max((rows.shape.shape[1] for _, _, rows in self.images), default=0)
        if body.n_shape < widest:
            raise DataError(
                f"labels have {widest} shape numbers and the head gives {body.n_shape}: cut to fewer they would be "
                "other bodies. Fit on labels as wide as these, or leave these out."
            )
        return replace(self, body=body)

    def inputs_of(self, index: int) -> SampleInputs:
        """The picture, and its people."""
        path, _, rows = self.images[index]
        return path, (f"label of {path}", content_hash(rows))

    @torch.no_grad()
    def __getitem__(self, index: int) -> PeopleImage:
        path, lying, rows = self.images[index]
        image = read_rgb(path)
        if lying:
            image = np.ascontiguousarray(np.rot90(image, -1))
        pose = torch.from_numpy(np.concatenate([rows.pose[:, part] for part in POSE_PARTS], axis=1))
        rotmat = rotation_from_vector(pose.unflatten(1, (-1, 3)))
        shape = torch.from_numpy(rows.shape)  # (person, numbers of its file)
        shape = torch.nn.functional.pad(shape, (0, self.body.n_shape - shape.shape[1]))
        pelvis = self.body.rest_pelvis(shape) + torch.from_numpy(rows.translation)
        _, joints = self.body(rotmat, shape)
        truth = make_truth(Skeleton.of(self.body), joints + pelvis[:, None], rotmat=rotmat, shape=shape)
        intrinsics = torch.from_numpy(rows.intrinsics[0]).clone()
        intrinsics[:2, 2] -= 0.5  # from the image's corner to the first pixel's centre
        return PeopleImage(image, intrinsics, truth, path.name)


def open_bedlam(root: Path, split: str, partial: bool) -> SmplxImages:
    """Open a split (train, val) of BEDLAM; see the module's text for the layout.

    Raises:
        DataError: if the layout differs, all label files are damaged, two of them label the same image, or images are
            missing without `partial`.
    """
    word = {"train": "training", "val": "validation"}[split]
    return _opened(root, f"{word}_labels", f"{word}_images", "png", partial)


def open_agora(root: Path, split: str, partial: bool) -> SmplxImages:
    """Open a split (train, val) of AGORA, with BEDLAM's processed labels; errors as for BEDLAM."""
    return _opened(root, f"{split}_labels", f"{split}_images", None, partial)


def _opened(root: Path, labels: str, images: str, inner: str | None, partial: bool) -> SmplxImages:
    files = list_files(root / labels, (".npz",), deep=True) if (root / labels).is_dir() else []
    if not files:
        raise DataError(
            f"{root}: no label files {labels}/**/*.npz. Expected layout: {labels}/**/NAME.npz and "
            f"{images}/{f'NAME/{inner}/IMGNAME' if inner else '**/IMGNAME'}"
        )
    read, notes = _read_all(files)
    found: list[tuple[Path, bool, Rows]] = []
    by_name = {} if inner else _by_name(root / images)
    labelled_in: dict[Path, Path] = {}
    for file, labelled in read.items():
        for name, rows in labelled.images.items():
            path = (
                any_case(root / images / file.stem / inner / name) if inner else by_name.get(Path(name).stem)
            ) or root / images / name
            if labelled_in.setdefault(path, file) != file:
                raise DataError(
                    f"{labelled_in[path]} and {file} both label {path}: it would count twice, with the people of one "
                    "file each. Move one of the files away."
                )
            found.append((path, "closeup" in file.stem, rows))
    missing = [path for path, _, _ in found if not path.is_file()]
    if missing and not partial:
        raise DataError(
            f"{root}: {len(missing)} of {len(found)} labelled images are missing; the first: {missing[0]}. Complete "
            "the download, or use the rest with --partial."
        )
    if missing:
        notes.append(f"{len(missing)} of {len(found)} labelled images are missing, and are left out")
    gone = set(missing)
    kept = tuple(one for one in found if one[0] not in gone)
    widths = {rows.shape.shape[1] for _, _, rows in kept}
    body = load_body("smplx", n_shape=max(widths, default=LEAST_SHAPES))
    assert isinstance(body, SmplxBody)
    if len(widths) > 1:
        notes.append(
            f"labels have {sorted(widths)} shape numbers: the body has {max(widths)}, missing ones are 0"
        )
    return SmplxImages(kept, body, "sequences" if inner else "places", tuple(notes))


def _by_name(folder: Path) -> dict[str, Path]:
    """Images below a folder, by name.

    Raises:
        DataError: if two images share a name, which makes labels ambiguous.
    """
    found: dict[str, Path] = {}
    for path in list_files(folder, (".png",), deep=True) if folder.is_dir() else []:
        if found.setdefault(path.stem, path) != path:
            raise DataError(
                f"{path} and {found[path.stem]} have one name; labels name images without a folder"
            )
    return found


def _read_all(files: list[Path]) -> tuple[dict[Path, LabelFile], list[str]]:
    """The usable label files, and notes on the others."""
    read: dict[Path, LabelFile] = {}
    refused: list[str] = []
    for file in files:
        try:
            read[file] = read_labels(file)
        except DataError as error:
            refused.append(str(error))
    partly = [f"{file}, {reason}" for file, labelled in read.items() for reason in labelled.left_out]
    empty = [str(file) for file, labelled in read.items() if not labelled.images]
    if not any(labelled.images for labelled in read.values()):
        raise DataError(
            f"none of {len(files)} label files has people that can be used: {_listed(refused + partly + empty)}"
        )
    notes = []
    if refused:
        notes.append(f"{len(refused)} of {len(files)} label files were left out: {_listed(refused)}")
    if partly:
        notes.append(f"images were left out of label files: {_listed(partly)}")
    if empty:
        notes.append(f"{len(empty)} label files have nobody in front of the camera: {_listed(empty)}")
    return read, notes


def _listed(texts: list[str]) -> str:
    more = f"; and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return "; ".join(texts[:_SHOWN]) + more

"""People data of your own: a folder with `people.json`, one JSON line per image, and image files.

    DIR/people.json     {"body": "anny"}                       or "smplx" (with "n_shape", default 10)
    DIR/train.jsonl     one image per line; val.jsonl, test.jsonl likewise
        {"image": "images/0001.jpg", "focal": 1100.0, "people": [PERSON, …]}

`focal` is in pixels, and the principal point is then the image centre. `intrinsics` may be given instead: 3x3, pixel
centres at integers. PERSON is

    {"rotation_vectors": [[x, y, z], …], "shape": [...], "pelvis": [x, y, z]}     parameters of the body model, or
    {"joints": {"pelvis": [x, y, z], "head": [x, y, z], …}}                      some joints, including head and root

Rotations are in the order of the body's `rotation_names` (radians, relative to the parent; the root in the camera
frame: x right, y down, z forward). The shape is Anny's six phenotypes in [0, 1], or SMPL-X's betas. Positions are in
metres. If given, `visible` (visible share of the silhouette) and `age` (both 0 to 1) define groups in the evaluation.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from codistill.bodies.base import BodyModel
from codistill.bodies.load import load_body
from codistill.bodies.smplx import MAX_SHAPE
from codistill.data.rooted import path_below
from codistill.errors import DataError, unknown_name
from codistill.files.inputs import fact
from codistill.files.json_files import read_json
from codistill.geometry.cameras import camera_matrix, check_focal
from codistill.geometry.rotations import rotation_from_vector
from codistill.heads.human_mesh.targets import PeopleTruth
from codistill.imaging import read_rgb
from codistill.tasks.people.sample import (
    FACTS,
    PeopleImage,
    Skeleton,
    join_truths,
    make_truth,
    nobody,
)
from codistill.tasks.people.world_people import LOGIT_LIMIT
from codistill.tasks.shared.data import read_list
from codistill.tasks.shared.groups import Groups, groups_of
from codistill.tasks.shared.inputs import SampleInputs

LAYOUT = 'people.json {"body": "anny" or "smplx"} and SPLIT.jsonl with one image per line (docs/people.md)'


@dataclass(frozen=True)
class FolderPeople:
    """Images of a folder with their labels.

    Attributes:
        root: the folder. lines: lines of the split's file. file: path of that file, for errors.
        body: body model of the labels.
        notes: how many lines were left out because their images are missing.
    """

    root: Path
    lines: tuple[str, ...]
    file: Path
    body: BodyModel
    notes: tuple[str, ...] = ()

    @property
    def groups(self) -> Groups:
        """Groups from groups.json, by the image paths in the lines."""
        lines = enumerate(self.lines, start=1)
        names = [str(_object(line, f"{self.file}, line {number}").get("image")) for number, line in lines]
        return groups_of(self.root, self.file.stem, names)

    def __len__(self) -> int:
        return len(self.lines)

    def inputs_of(self, index: int) -> SampleInputs:
        """The picture, and its line of labels."""
        entry = _object(self.lines[index], f"{self.file}, line {index + 1}")
        path = self.root / str(entry.get("image"))
        return path, fact(f"label of {path}", self.body.name, self.lines[index])

    def __getitem__(self, index: int) -> PeopleImage:
        where = f"{self.file}, line {index + 1}"
        entry = _object(self.lines[index], where)
        if not isinstance(entry.get("image"), str):
            raise DataError(f'{where}: "image" must be the path of a file in {self.root}')
        image = read_rgb(path_below(entry["image"], str(self.root)))
        people = entry.get("people")
        if not isinstance(people, list):
            raise DataError(f'{where}: "people" must be a list; an image without anybody has []')
        made = [self._person(one, f"{where}, person {n}") for n, one in enumerate(people, start=1)]
        truth = join_truths(made) if made else nobody(Skeleton.of(self.body))
        # `join_truths` gives each part its own image number; here all parts belong to one image.
        truth = PeopleTruth(**{**vars(truth), "image": torch.zeros(len(truth), dtype=torch.int64)})
        facts = {
            name: torch.tensor([_share(one, name, f"{where}, person {n}") for n, one in enumerate(people, 1)])
            for name in FACTS
            if any(name in one for one in people)
        }
        return PeopleImage(image, _intrinsics(entry, image.shape, where), truth, entry["image"], facts)

    @torch.no_grad()
    def _person(self, person: Any, where: str) -> PeopleTruth:
        if not isinstance(person, Mapping):
            raise DataError(f"{where}: must be an object; got {person!r}")
        body, skeleton = self.body, Skeleton.of(self.body)
        if "joints" in person:
            if {"rotation_vectors", "shape", "pelvis"} & set(person):
                raise DataError(f'{where}: has both "joints" and parameters of the body; give one of them')
            return _from_joints(person["joints"], skeleton, where)
        vectors = _numbers(person, "rotation_vectors", (body.n_rot, 3), where)
        shape = _numbers(person, "shape", (body.n_shape,), where)
        pelvis = _numbers(person, "pelvis", (3,), where)
        if body.name == "anny":
            if not ((shape >= 0) & (shape <= 1)).all():
                raise DataError(f"{where}: Anny's shape must be phenotypes in [0, 1]; got {shape.tolist()}")
            shape = shape.logit().clamp(-LOGIT_LIMIT, LOGIT_LIMIT)
        rotmat = rotation_from_vector(vectors)[None]
        _, joints = body(rotmat, shape[None])
        return make_truth(skeleton, joints + pelvis, rotmat=rotmat, shape=shape[None])


def open_folder(root: Path, split: str, partial: bool) -> FolderPeople:
    """Open a split of a folder of your own.

    Raises:
        DataError: if its layout differs; the message shows the expected one.
    """
    about_file = root / "people.json"
    if not about_file.is_file():
        raise DataError(f"{about_file}: no such file. Expected layout: {LAYOUT}")
    about = read_json(about_file)
    name = about.get("body")
    if not isinstance(name, str):
        raise DataError(f'{about_file}: must name a body model, e.g. {{"body": "anny"}}')
    count = about.get("n_shape", 10)
    if type(count) is not int or not 1 <= count <= MAX_SHAPE:
        raise DataError(f'{about_file}: "n_shape" must be a whole number of 1 to {MAX_SHAPE}; got {count!r}')
    body = load_body(name, n_shape=count) if name == "smplx" else load_body(name)
    file = root / f"{split}.jsonl"
    lines = read_list(file, LAYOUT)
    _check_images(lines, file)
    notes: tuple[str, ...] = ()
    if partial:
        there = [line for n, line in enumerate(lines) if _is_there(root, line, f"{file}, line {n + 1}")]
        if len(there) < len(lines):
            notes = (f"{len(lines) - len(there)} of {len(lines)} images are missing, and are left out",)
        lines = there
    return FolderPeople(root, tuple(lines), file, body, notes)


def _check_images(lines: list[str], file: Path) -> None:
    """Raise DataError if an image has two lines: in each, the people of the other would be unlabelled."""
    seen: dict[Path, int] = {}
    for number, line in enumerate(lines, start=1):
        image = _object(line, f"{file}, line {number}").get("image")
        other = seen.setdefault(Path(image), number) if isinstance(image, str) else number
        if other != number:
            raise DataError(
                f"{file}, lines {other} and {number}: both are of {image}; an image has one line with all its people"
            )


def _is_there(root: Path, line: str, where: str) -> bool:
    return (root / str(_object(line, where).get("image"))).is_file()


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError as error:
        raise DataError(f"{where}: is no JSON: {error}") from error
    if not isinstance(entry, dict):
        raise DataError(f"{where}: must be a JSON object")
    return entry


def _intrinsics(entry: Mapping[str, Any], shape: tuple[int, ...], where: str) -> Tensor:
    if "intrinsics" in entry:
        found = _numbers(entry, "intrinsics", (3, 3), where)
        if found[2].tolist() != [0, 0, 1]:
            raise DataError(
                f'{where}: "intrinsics" must be [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]; got {found.tolist()}'
            )
        check_focal(float(found.diagonal()[:2].min()), shape, where)
        return found
    focal = entry.get("focal")
    if not isinstance(focal, (int, float)) or not 0 < focal < math.inf:
        raise DataError(f'{where}: needs "focal" in pixels, a positive number, or "intrinsics" (3x3)')
    check_focal(focal, shape, where)
    return camera_matrix(float(focal), ((shape[1] - 1) / 2, (shape[0] - 1) / 2))


def _share(person: Mapping[str, Any], name: str, where: str) -> float:
    """A number from 0 to 1; NaN if it is not given."""
    value = person.get(name)
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0 or value > 1:
        raise DataError(f'{where}: "{name}" must be a number from 0 to 1; got {value!r}')
    return float(value)


def _from_joints(joints: Any, skeleton: Skeleton, where: str) -> PeopleTruth:
    names = skeleton.joint_names
    needed = (names[skeleton.head_idx], names[skeleton.pelvis_idx])
    if not isinstance(joints, Mapping) or not set(needed) <= set(joints):
        raise DataError(f'{where}: "joints" must give {needed[0]!r} and {needed[1]!r} at least')
    places = torch.zeros(1, len(names), 3)
    known = torch.zeros(1, len(names), dtype=torch.bool)
    for name in joints:
        if name not in names:
            raise DataError(f"{where}: {unknown_name('joint', name, names)}")
        index = names.index(name)
        places[0, index], known[0, index] = _numbers(joints, name, (3,), where), True
    return make_truth(skeleton, places, joint_known=known)


def _numbers(entry: Mapping[str, Any], name: str, shape: tuple[int, ...], where: str) -> Tensor:
    try:
        values = torch.tensor(entry.get(name), dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError):
        values = torch.empty(0)
    if tuple(values.shape) != shape or not values.isfinite().all():
        wanted = "x".join(map(str, shape))
        raise DataError(f'{where}: "{name}" must be {wanted} finite numbers; got {str(entry.get(name))[:60]}')
    return values

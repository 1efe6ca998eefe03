"""SMPL-X (Pavlakos et al. 2019) as a `BodyModel`, from the user's own licensed file, by linear blend skinning.

In: `SMPLX_NEUTRAL.npz`, downloaded by the user from https://smpl-x.is.tue.mpg.de (free for research after
registration). Its data is never saved in checkpoints. Hands are flat at the identity; the eyes do not move.
Source: SMPL (Loper et al. 2015) equations 2 to 10; SMPL-X (arXiv 1904.05866) section 3.1.
"""

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from codistill.bodies.base import IDENTITY_6D, BodyModel
from codistill.errors import DataError
from codistill.nn.precision import full_precision

FILE_NAME = "SMPLX_NEUTRAL.npz"
VARIABLE = "CODISTILL_SMPLX"
"""Environment variable with the file or its folder."""

HOW_TO_GET_IT = (
    f"SMPL-X is licensed and cannot be shipped. Register at https://smpl-x.is.tue.mpg.de, accept the licence, download "
    f"'SMPL-X v1.1 (NPZ+PKL)', unpack it, and set {VARIABLE} to the folder with {FILE_NAME}, or give the path. "
    "The body model 'anny' needs no registration."
)

_HAND = tuple(f"{finger}{i}" for finger in ("index", "middle", "pinky", "ring", "thumb") for i in (1, 2, 3))
SKELETON = (
    *("pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle"),
    *("right_ankle", "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head"),
    *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
    *("jaw", "left_eye", "right_eye"),
    *(f"{side}_{joint}" for side in ("left", "right") for joint in _HAND),
)
"""The 55 joints of the skeleton, in the file's order."""

FREE = (*range(22), *range(25, 55), 22)
"""Skeleton joints whose rotations are free, in the order of `forward`: root, body, left hand, right hand, jaw."""

_SURFACE_NAMES = (
    *("nose", "right_eye_surface", "left_eye_surface", "right_ear", "left_ear"),
    *("left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel"),
    *(
        f"{side}_{tip}_tip"
        for side in ("left", "right")
        for tip in ("thumb", "index", "middle", "ring", "pinky")
    ),
)
_SURFACE_VERTICES = (
    *(9120, 9929, 9448, 616, 6),
    *(5770, 5780, 8846, 8463, 8474, 8635),
    *(5361, 4933, 5058, 5169, 5286, 8079, 7669, 7794, 7905, 8022),
)
SURFACE_POINTS = dict(zip(_SURFACE_NAMES, _SURFACE_VERTICES, strict=True))
"""Vertices that serve as joints 55 to 75 of the published mesh; the file's face landmarks follow them."""

NUM_VERTICES = 10475
"""Number of vertices of the published mesh."""

MAX_SHAPE = 300
"""Number of shape blendshapes before the expressions in files of version 1.1; older files have 10 of each."""


class SmplxBody(BodyModel):
    """SMPL-X, neutral, with 53 free rotations.

    Shape and expression are the model's own coefficients, unbounded; both start at 0, the mean body.

    Args:
        path: the `.npz` file or the folder that holds it (or `smplx/` in it); None: `$CODISTILL_SMPLX`.
        n_shape: shape coefficients to use (10 in most labels, 11 in BEDLAM's).
        n_expression: expression coefficients to use.

    Attributes:
        parents: parent of each of the 55 skeleton joints, -1 for the root.

    Raises:
        DataError: if the file is missing (the text says how to get it), damaged, or not an SMPL-X model.
    """

    template: Tensor
    shape_directions: Tensor
    expression_directions: Tensor
    pose_directions: Tensor
    joint_regressor: Tensor
    skinning: Tensor
    free: Tensor
    surface_vertices: Tensor
    landmark_vertices: Tensor
    landmark_weights: Tensor

    def __init__(self, path: str | Path | None = None, *, n_shape: int = 10, n_expression: int = 10) -> None:
        super().__init__()
        file = find_smplx(path)
        data = read_smplx(file)
        shapes, expressions = _blendshapes(file, data["shapedirs"], n_shape, n_expression)
        self.name, self.licence = "smplx", "SMPL-X model licence (non-commercial), smpl-x.is.tue.mpg.de"
        self.parents = (-1, *(int(parent) for parent in data["kintree_table"][0, 1:]))
        self.n_rot, self.n_shape, self.n_expression = len(FREE), n_shape, n_expression
        self.n_verts = len(data["v_template"])
        surface = SURFACE_POINTS if self.n_verts == NUM_VERTICES else {}
        landmarks = [f"face_{i}" for i in range(len(data["lmk_faces_idx"]))]
        self.joint_names = (*SKELETON, *surface, *landmarks)
        self.rotation_names = tuple(SKELETON[i] for i in FREE)
        self.n_joints = len(self.joint_names)
        self.head_idx, self.pelvis_idx = SKELETON.index("head"), 0
        init = torch.tensor(IDENTITY_6D).repeat(self.n_rot, 1)
        # Its own axes are x left, y up, z forward; a rotation by 180 degrees about x puts it upright before a camera.
        init[0] = torch.tensor([1.0, 0.0, 0.0, 0.0, -1.0, 0.0])
        faces = torch.from_numpy(data["f"].astype(np.int64))
        posed = data["posedirs"].reshape(3 * self.n_verts, -1).T
        buffers: dict[str, Tensor] = {
            "faces": faces,
            "init_6d": init,
            "template": _float(data["v_template"]),
            "shape_directions": _float(shapes),
            "expression_directions": _float(expressions),
            "pose_directions": _float(posed),
            "joint_regressor": _float(data["J_regressor"]),
            "skinning": _float(data["weights"]),
            "free": torch.tensor(FREE),
            "surface_vertices": torch.tensor(list(surface.values()), dtype=torch.int64),
            "landmark_vertices": faces[torch.from_numpy(data["lmk_faces_idx"].astype(np.int64))],
            "landmark_weights": _float(data["lmk_bary_coords"]),
        }
        for name, tensor in buffers.items():
            self.register_buffer(name, tensor, persistent=False)

    def forward(
        self,
        rotmat: Float[Tensor, "person rotation 3 3"],
        shape: Float[Tensor, "person shape"],
        expression: Float[Tensor, "person expression"] | None = None,
    ) -> tuple[Float[Tensor, "person vertex 3"], Float[Tensor, "person joint 3"]]:
        """Vertices and joints in metres, the pelvis at the origin; see `BodyModel.forward`.

        Args:
            rotmat: (person, 53, 3, 3) in the order of `FREE`, each relative to its parent.
            shape: (person, n_shape).
            expression: (person, n_expression); None: neutral.
        """
        self._check(rotmat, shape)
        people = rotmat.shape[0]
        if expression is not None and expression.shape != (people, self.n_expression):
            raise ValueError(
                f"smplx wants expressions ({people}, {self.n_expression}); got {tuple(expression.shape)}"
            )
        with full_precision(rotmat):
            rotmat, shape = rotmat.to(self.template.dtype), shape.to(self.template.dtype)
            rest = self.template + torch.einsum("ps,vcs->pvc", shape, self.shape_directions)
            if expression is not None:
                moved = torch.einsum("pe,vce->pvc", expression.to(rest.dtype), self.expression_directions)
                rest = rest + moved  # (person, vertex, 3)
            joints = torch.einsum("jv,pvc->pjc", self.joint_regressor, rest)  # without pose correctives
            identity = torch.eye(3, dtype=rest.dtype, device=rest.device)
            local = identity.repeat(people, len(SKELETON), 1, 1).index_copy(1, self.free, rotmat)
            bend = (local[:, 1:] - identity).flatten(1) @ self.pose_directions  # (person, vertex x 3)
            rest = rest + bend.unflatten(1, (self.n_verts, 3))
            return self._skinned(rest, joints, local)

    def rest_pelvis(self, shape: Float[Tensor, "person shape"]) -> Float[Tensor, "person 3"]:
        """Pelvis of the unposed body in metres; the pelvis of a label is this plus its `transl`."""
        template = self.joint_regressor[0] @ self.template
        return template + torch.einsum("v,vcs,ps->pc", self.joint_regressor[0], self.shape_directions, shape)

    def _skinned(self, rest: Tensor, joints: Tensor, local: Tensor) -> tuple[Tensor, Tensor]:
        """Vertices and joints by linear blend skinning of the rest pose, with the pelvis at the origin."""
        turn, place = forward_kinematics(local, joints, self.parents)
        # Each joint's transform from the rest pose, vertex -> turn @ vertex + shift:
        shift = place - (turn @ joints[..., None])[..., 0]  # (person, joint, 3)
        blended = torch.einsum("vj,pjrc->pvrc", self.skinning, turn)  # (person, vertex, 3, 3)
        verts = (blended @ rest[..., None])[..., 0] + torch.einsum("vj,pjc->pvc", self.skinning, shift)
        landmarks = (verts[:, self.landmark_vertices] * self.landmark_weights[..., None]).sum(-2)
        all_joints = torch.cat((place, verts[:, self.surface_vertices], landmarks), dim=1)
        pelvis = place[:, :1]  # (person, 1, 3)
        return verts - pelvis, all_joints - pelvis


def forward_kinematics(
    local: Float[Tensor, "person joint 3 3"],
    joints: Float[Tensor, "person joint 3"],
    parents: tuple[int, ...],
) -> tuple[Float[Tensor, "person joint 3 3"], Float[Tensor, "person joint 3"]]:
    """Rotations and positions of all joints in the frame of the root's parent; parents must come before children."""
    turns, places = [local[:, 0]], [joints[:, 0]]
    for joint in range(1, len(parents)):
        parent = parents[joint]
        offset = joints[:, joint] - joints[:, parent]  # bone at rest
        places.append(places[parent] + (turns[parent] @ offset[..., None])[..., 0])
        turns.append(turns[parent] @ local[:, joint])  # (person, 3, 3)
    return torch.stack(turns, dim=1), torch.stack(places, dim=1)


def find_smplx(path: str | Path | None = None) -> Path:
    """Find the SMPL-X file at a path, in a folder, or at `$CODISTILL_SMPLX`.

    Raises:
        DataError: if there is none; the text says how to get it.
    """
    given = path if path is not None else os.environ.get(VARIABLE)
    if not given:
        raise DataError(f"The SMPL-X body model needs its file, and {VARIABLE} is not set. {HOW_TO_GET_IT}")
    place = Path(given).expanduser()
    if place.is_file():
        gender = next((word for word in ("female", "male") if word in place.stem.lower()), None)
        if gender is not None:
            raise DataError(
                f"{place}: is the {gender} model by its name. Heads and labels here are the neutral model's, and "
                f"shape numbers of one model mean nothing to another: give {FILE_NAME}."
            )
        return place
    for candidate in (place / FILE_NAME, place / "smplx" / FILE_NAME, place / "models" / "smplx" / FILE_NAME):
        if candidate.is_file():
            return candidate
    raise DataError(f"{place}: no {FILE_NAME} there. {HOW_TO_GET_IT}")


_NEEDED = ("v_template", "shapedirs", "posedirs", "J_regressor", "kintree_table", "weights", "f")


def read_smplx(file: Path) -> dict[str, NDArray[np.generic]]:
    """Read the arrays of an SMPL-X file, and check that they fit each other; face landmarks may be missing.

    Raises:
        DataError: if the file is damaged or not an SMPL-X model; the text names what does not fit.
    """
    try:
        with np.load(file, allow_pickle=False) as archive:
            names = [*_NEEDED, "lmk_faces_idx", "lmk_bary_coords"]
            data = {name: archive[name] for name in names if name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise DataError(
            f"{file}: cannot be read as an .npz file of plain arrays ({error}). The .pkl files are not read. "
            f"{HOW_TO_GET_IT}"
        ) from error
    missing = [name for name in _NEEDED if name not in data]
    if missing:
        raise DataError(f"{file}: is no SMPL-X model: it misses {', '.join(missing)}. {HOW_TO_GET_IT}")
    data.setdefault("lmk_faces_idx", np.zeros(0, np.int64))
    data.setdefault("lmk_bary_coords", np.zeros((0, 3)))
    verts, joints = len(data["v_template"]), len(SKELETON)
    expected: Mapping[str, tuple[int, ...]] = {
        "v_template": (verts, 3),
        "shapedirs": (verts, 3, data["shapedirs"].shape[-1]),
        "posedirs": (verts, 3, 9 * (joints - 1)),
        "J_regressor": (joints, verts),
        "kintree_table": (2, joints),
        "weights": (verts, joints),
        "f": (len(data["f"]), 3),
        "lmk_bary_coords": (len(data["lmk_faces_idx"]), 3),
    }
    wrong = [
        f"{name} is {data[name].shape}, expected {shape}"
        for name, shape in expected.items()
        if data[name].shape != shape
    ]
    parents = data["kintree_table"][0, 1:]
    if not wrong:
        wrong = [
            f"{name} is not finite"
            for name, array in data.items()
            if array.dtype.kind == "f" and not np.isfinite(array).all()
        ]
    if not wrong and any(not 0 <= parent < joint for joint, parent in enumerate(parents, start=1)):
        wrong = ["kintree_table does not list parents before their children"]
    if wrong:
        raise DataError(
            f"{file}: is no SMPL-X model of {joints} joints: {'; '.join(wrong)}. SMPL and SMPL+H files are not read. "
            f"{HOW_TO_GET_IT}"
        )
    return data


def _blendshapes(
    file: Path, directions: NDArray[np.generic], n_shape: int, n_expression: int
) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    """Shape and expression directions, from files of both versions."""
    count = directions.shape[-1]
    most_shape = MAX_SHAPE if count > MAX_SHAPE else count // 2
    if not 1 <= n_shape <= most_shape or not 0 <= n_expression <= count - most_shape:
        raise DataError(
            f"{file}: has {most_shape} shape and {count - most_shape} expression coefficients; "
            f"{n_shape} and {n_expression} are requested. Version 1.1 of the model has {MAX_SHAPE} and 100."
        )
    return directions[..., :n_shape], directions[..., most_shape : most_shape + n_expression]


def _float(array: NDArray[np.generic]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))

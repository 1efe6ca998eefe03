"""SMPL-X by our own skinning: against a slow implementation vertex by vertex, its conventions, and what users do wrong.

The files here are generated: the published layout with random numbers.
"""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from codistill.bodies.smplx import FREE, SKELETON, SURFACE_POINTS, SmplxBody, find_smplx
from codistill.errors import DataError

PARENTS = [-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 15, 15, 15]
for wrist in (20, 21):
    for _finger in range(5):
        start = len(PARENTS)
        PARENTS += [wrist, start, start + 1]


def arrays(
    verts: int = 40, shapes: int = 400, seed: int = 0, landmarks: int = 51, poses: bool = True
) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    regressor = rng.random((55, verts)) * (rng.random((55, verts)) < 0.2) + 1e-6
    weights = rng.random((verts, 55)) * (rng.random((verts, 55)) < 0.1) + 1e-9
    faces = rng.integers(0, verts, (30, 3)).astype(np.uint32)
    table = np.array([PARENTS, range(55)]).astype(np.int64).astype(np.uint32)  # the root's parent: 2**32 - 1
    return {
        "v_template": rng.normal(size=(verts, 3)),
        "shapedirs": rng.normal(size=(verts, 3, shapes)) * 0.1,
        "posedirs": rng.normal(size=(verts, 3, 486)) * 0.02
        if poses
        else np.zeros((verts, 3, 486), np.float32),
        "J_regressor": regressor / regressor.sum(1, keepdims=True),
        "kintree_table": table,
        "weights": weights / weights.sum(1, keepdims=True),
        "f": faces,
        "lmk_faces_idx": rng.integers(0, 30, landmarks),
        "lmk_bary_coords": rng.dirichlet(np.ones(3), landmarks),
        "hands_meanl": rng.normal(size=45),
        "part2num": np.array({"an": "object"}, dtype=object),
    }


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "SMPLX_NEUTRAL.npz"
    np.savez(path, **arrays())
    return path


def random_rotations(*shape: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    q, _ = torch.linalg.qr(torch.randn(*shape, 3, 3, generator=generator, dtype=torch.float64))
    return q * torch.det(q)[..., None, None]


def slow(
    data: dict[str, np.ndarray], rotmat: np.ndarray, shape: np.ndarray, expression: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """One person in homogeneous coordinates, vertex by vertex, joint by joint."""
    full = [np.eye(3) for _ in range(55)]
    order = [*range(22), *range(25, 40), *range(40, 55), 22]
    for i, joint in enumerate(order):
        full[joint] = rotmat[i]
    rest = data["v_template"].copy()
    for i, value in enumerate(shape):
        rest = rest + value * data["shapedirs"][:, :, i]
    for i, value in enumerate(expression):
        rest = rest + value * data["shapedirs"][:, :, 300 + i]
    joints = [sum(data["J_regressor"][j, v] * rest[v] for v in range(len(rest))) for j in range(55)]
    feature = np.concatenate([(full[j] - np.eye(3)).ravel() for j in range(1, 55)])
    for v in range(len(rest)):
        rest[v] = rest[v] + data["posedirs"][v] @ feature
    world: list[np.ndarray] = []
    for j in range(55):
        local = np.eye(4)
        local[:3, :3] = full[j]
        local[:3, 3] = joints[j] if j == 0 else joints[j] - joints[PARENTS[j]]
        world.append(local if j == 0 else world[PARENTS[j]] @ local)
    back = [
        np.block([[np.eye(3), -joints[j][:, None]], [np.zeros((1, 3)), np.ones((1, 1))]]) for j in range(55)
    ]
    verts = np.stack(
        [
            sum(data["weights"][v, j] * (world[j] @ back[j] @ np.append(rest[v], 1.0))[:3] for j in range(55))
            for v in range(len(rest))
        ]
    )
    places = [matrix[:3, 3] for matrix in world]
    for face, bary in zip(data["lmk_faces_idx"], data["lmk_bary_coords"], strict=True):
        places.append(bary @ verts[data["f"][face].astype(int)])
    return verts - world[0][:3, 3], np.stack(places) - world[0][:3, 3]


def test_equals_a_slow_implementation(file: Path) -> None:
    body = SmplxBody(file, n_shape=11).double()
    generator = torch.Generator().manual_seed(0)
    rotmat = random_rotations(2, 53)
    shape, expression = torch.randn(2, 11, generator=generator), torch.randn(2, 10, generator=generator)
    verts, joints = body(rotmat, shape.double(), expression.double())
    assert verts.shape == (2, 40, 3) and joints.shape == (2, 55 + 51, 3)
    for person in range(2):
        expected = slow(
            arrays(),
            rotmat[person].numpy(),
            shape[person].double().numpy(),
            expression[person].double().numpy(),
        )
        # The file is kept in fp32, as published models are: 1e-6 is its precision.
        np.testing.assert_allclose(verts[person].numpy(), expected[0], atol=5e-6)
        np.testing.assert_allclose(joints[person].numpy(), expected[1], atol=5e-6)


def test_the_rest_pose_is_the_template(file: Path) -> None:
    body = SmplxBody(file)
    data = arrays()
    verts, joints = body(torch.eye(3).expand(1, 53, 3, 3), torch.zeros(1, 10))
    pelvis = data["J_regressor"][0] @ data["v_template"]
    np.testing.assert_allclose(verts[0].numpy(), data["v_template"] - pelvis, atol=1e-5)
    np.testing.assert_allclose(joints[0, 0].numpy(), 0.0, atol=1e-7)


def test_a_root_rotation_turns_the_whole_body_about_the_pelvis(file: Path) -> None:
    """Multi-HMR poses with an identity root and rotates afterwards: the same thing."""
    body = SmplxBody(file)
    rotmat, shape = random_rotations(3, 53).float(), torch.randn(3, 10)
    still = rotmat.clone()
    still[:, 0] = torch.eye(3)
    verts, joints = body(rotmat, shape)
    flat_verts, flat_joints = body(still, shape)
    torch.testing.assert_close(verts, flat_verts @ rotmat[:, 0].mT, atol=1e-4, rtol=0)
    torch.testing.assert_close(joints, flat_joints @ rotmat[:, 0].mT, atol=1e-4, rtol=0)


def test_order_of_the_53_rotations(file: Path) -> None:
    body = SmplxBody(file)
    assert len(FREE) == body.n_rot == 53 and len(set(FREE)) == 53
    names = body.rotation_names
    assert names[0] == "pelvis" and names[15] == "head" and names[52] == "jaw"
    assert names[22] == "left_index1" and names[37] == "right_index1"
    assert {"left_eye", "right_eye"} == set(SKELETON) - set(names)
    assert body.joint_names[body.head_idx] == "head"
    # Turning the jaw alone moves no skeleton joint but those below it: none.
    rotmat = torch.eye(3).repeat(1, 53, 1, 1)
    _, before = body(rotmat, torch.zeros(1, 10))
    rotmat[0, 52] = random_rotations(1)[0].float()
    _, after = body(rotmat, torch.zeros(1, 10))
    torch.testing.assert_close(after[:, :55], before[:, :55])
    # Turning the left wrist moves the left fingers, and nothing else of the skeleton.
    rotmat[0, 20] = random_rotations(1, seed=5)[0].float()
    _, wrist = body(rotmat, torch.zeros(1, 10))
    moved = (wrist - after)[0, :55].norm(dim=-1) > 1e-4
    assert moved[25:40].sum() >= 10 and not moved[:25].any() and not moved[40:].any()


def test_upright_before_a_camera(file: Path) -> None:
    """Own axes: y up, facing z, x to its left. Camera: y down, z away: it must face the camera, left at the right."""
    root = SmplxBody(file).init_6d[0]
    first, second = root[:3], root[3:]
    turn = torch.stack((first, second, torch.linalg.cross(first, second)), dim=-1)
    assert torch.equal(turn @ torch.eye(3), torch.diag(torch.tensor([1.0, -1.0, -1.0])))


def test_gradients_reach_everything(file: Path) -> None:
    body = SmplxBody(file).double()
    rotmat = random_rotations(1, 53).requires_grad_()
    shape = torch.zeros(1, 10, dtype=torch.float64, requires_grad=True)
    expression = torch.zeros(1, 10, dtype=torch.float64, requires_grad=True)
    verts, joints = body(rotmat, shape, expression)
    (verts.square().sum() + joints.square().sum()).backward()
    for tensor in (rotmat, shape, expression):
        assert tensor.grad is not None and tensor.grad.isfinite().all()
    assert rotmat.grad is not None and (rotmat.grad.flatten(2).abs().amax(2) > 0).all()


def test_no_licensed_number_is_saved(file: Path) -> None:
    assert not SmplxBody(file).state_dict()


def test_nobody(file: Path) -> None:
    verts, joints = SmplxBody(file)(torch.zeros(0, 53, 3, 3), torch.zeros(0, 10))
    assert verts.shape == (0, 40, 3) and joints.shape == (0, 106, 3)


def test_the_published_mesh_has_127_joints(tmp_path: Path) -> None:
    data = arrays(verts=10475, shapes=20, poses=False)
    np.savez(tmp_path / "SMPLX_NEUTRAL.npz", **data)
    body = SmplxBody(tmp_path, n_expression=10)
    verts, joints = body(torch.eye(3).expand(1, 53, 3, 3), torch.zeros(1, 10))
    assert joints.shape == (1, 127, 3) and body.n_joints == len(body.joint_names) == 127
    index = body.joint_names.index("left_heel")
    assert index == 62 and torch.equal(joints[0, index], verts[0, SURFACE_POINTS["left_heel"]])


def test_older_files_have_ten_expressions_after_ten_shapes(tmp_path: Path) -> None:
    data = arrays(shapes=20, landmarks=0)
    del data["lmk_faces_idx"], data["lmk_bary_coords"]
    np.savez(tmp_path / "old.npz", **data)
    body = SmplxBody(tmp_path / "old.npz")
    np.testing.assert_allclose(body.expression_directions.numpy(), data["shapedirs"][..., 10:], rtol=1e-6)
    with pytest.raises(DataError, match="10 shape and 10 expression coefficients; 11 and 10 are requested"):
        SmplxBody(tmp_path / "old.npz", n_shape=11)


def test_a_missing_file_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CODISTILL_SMPLX", raising=False)
    with pytest.raises(
        DataError, match=r"CODISTILL_SMPLX is not set.*Register at https://smpl-x\.is\.tue\.mpg\.de"
    ):
        SmplxBody()
    with pytest.raises(DataError, match=r"no SMPLX_NEUTRAL\.npz there.*'anny' needs no registration"):
        SmplxBody(tmp_path)


def test_the_file_is_found_in_folders_and_by_the_variable(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_smplx(file.parent) == file
    nested = tmp_path / "models" / "smplx"
    nested.mkdir(parents=True)
    moved = file.rename(nested / file.name)
    monkeypatch.setenv("CODISTILL_SMPLX", str(tmp_path))
    assert find_smplx() == moved


def test_other_and_damaged_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "SMPLX_NEUTRAL.pkl").write_bytes(b"\x80\x03}q\x00.")
    with pytest.raises(DataError, match=r"\.pkl files are not read"):
        SmplxBody(tmp_path / "SMPLX_NEUTRAL.pkl")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(DataError, match="misses v_template, shapedirs"):
        SmplxBody(tmp_path / "other.npz")
    data = arrays()
    np.savez(tmp_path / "smplh.npz", **(data | {"posedirs": data["posedirs"][..., :459]}))
    with pytest.raises(
        DataError, match=r"posedirs is \(40, 3, 459\), expected \(40, 3, 486\).*SMPL and SMPL\+H"
    ):
        SmplxBody(tmp_path / "smplh.npz")
    whole = tmp_path / "whole.npz"
    np.savez(whole, **data)
    (tmp_path / "cut.npz").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(DataError, match="cannot be read"):
        SmplxBody(tmp_path / "cut.npz")


def test_wrong_shapes_are_named(file: Path) -> None:
    body = SmplxBody(file)
    with pytest.raises(ValueError, match=r"smplx wants rotations \(person, 53, 3, 3\)"):
        body(torch.zeros(2, 55, 3, 3), torch.zeros(2, 10))
    with pytest.raises(ValueError, match=r"expressions \(2, 10\); got \(2, 50\)"):
        body(torch.eye(3).expand(2, 53, 3, 3), torch.zeros(2, 10), torch.zeros(2, 50))
    assert math.isfinite(body(torch.eye(3).expand(2, 53, 3, 3).half(), torch.zeros(2, 10).half())[0].sum())

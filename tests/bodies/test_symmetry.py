"""Which joint is on the other side: the body posed in the mirror must put its joints where the mirrored labels say."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from symmetric_smplx import landmark_pairs, write_symmetric

from codistill.bodies.anny import anny_is_built
from codistill.bodies.base import BodyModel
from codistill.bodies.load import load_body
from codistill.bodies.smplx import SmplxBody
from codistill.bodies.symmetry import NO_COUNTERPART, joint_counterparts
from codistill.geometry.rotations import rotation_from_6d, rotation_from_vector
from codistill.heads.human_mesh.mirror import mirror_people
from codistill.tasks.people.sample import Skeleton, make_truth

needs_anny = pytest.mark.skipif(not anny_is_built(), reason="Anny is not built yet (minutes)")


def loaded(name: str, folder: Path) -> BodyModel:
    if name != "smplx":
        return load_body(name)
    write_symmetric(folder / "SMPLX_NEUTRAL.npz")
    return SmplxBody(folder / "SMPLX_NEUTRAL.npz")


@pytest.mark.parametrize(
    ("name", "bound", "unknown"),
    [("smplx", 1e-5, 0), pytest.param("anny", 0.004, 0, marks=needs_anny), ("tiny", 1e-5, 2)],
)
def test_mirrored_labels_are_the_mirrored_body(name: str, bound: float, unknown: int, tmp_path: Path) -> None:
    body = loaded(name, tmp_path)
    generator = torch.Generator().manual_seed(0)
    turns = rotation_from_vector(0.3 * torch.randn(3, body.n_rot, 3, generator=generator))
    rotmat = rotation_from_6d(body.init_6d) @ turns
    shape = torch.randn(3, body.n_shape, generator=generator)
    _, joints = body(rotmat, shape)
    pelvis = torch.tensor([[0.3, 0.1, 4.0]])
    skeleton = Skeleton.of(body)
    truth = make_truth(skeleton, joints + pelvis, rotmat=rotmat, shape=shape)
    mirrored = mirror_people(truth, skeleton)
    assert mirrored.rotmat is not None and mirrored.shape is not None
    _, again = body(mirrored.rotmat, mirrored.shape)
    away = (again + mirrored.pelvis[:, None] - mirrored.joints).norm(dim=-1)
    known = torch.ones_like(away, dtype=torch.bool) if mirrored.joint_known is None else mirrored.joint_known
    assert float(away[known].max()) < bound
    assert int((~known[0]).sum()) == unknown  # the boxes' one arm and one leg


def test_numbered_landmarks_of_a_nearly_symmetric_face_find_each_other(tmp_path: Path) -> None:
    write_symmetric(tmp_path / "SMPLX_NEUTRAL.npz", seed=1, noise=0.0005)
    body = SmplxBody(tmp_path / "SMPLX_NEUTRAL.npz")
    first = body.joint_names.index("face_0")
    found = [other - first for other in body.joint_counterparts[first:]]
    assert found == landmark_pairs()


def test_names_with_a_side_are_taken_at_their_word_and_others_measured() -> None:
    names = ("root", "left_arm", "right_arm", "a", "b", "left_lone", "off")
    rest = torch.tensor(
        [
            [0.1, 0.0, 0.0],  # on the midline, which lies at x = 0.1
            [0.6, 0.0, 0.0],
            [-0.4, 0.3, 0.0],
            [0.3, 1.0, 0.2],
            [-0.1, 1.002, 0.2],  # the mirror image of a, 2 mm off
            [0.5, 2.0, 0.0],
            [0.9, 3.0, 0.0],
        ]
    )
    assert joint_counterparts(names, rest) == (0, 2, 1, 4, 3, NO_COUNTERPART, NO_COUNTERPART)

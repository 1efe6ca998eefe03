import subprocess
import sys

import numpy as np
import pytest
import torch

from codistill.bodies import load_body
from codistill.bodies.anny import anny_is_built
from codistill.errors import ConfigError
from codistill.geometry.rotations import rotation_to_6d

needs_anny = pytest.mark.skipif(
    not anny_is_built(), reason="Anny is not built yet (minutes); `codistill world build` does it"
)


@pytest.fixture(scope="module")
def anny():
    pytest.importorskip("anny")
    return load_body("anny")


def identity(body, people=1):
    return torch.eye(3).repeat(people, body.n_rot, 1, 1)


def from_6d(values):
    a, b = values[..., :3], values[..., 3:]
    return torch.stack([a, b, torch.linalg.cross(a, b)], dim=-1)


@pytest.mark.parametrize("name", ["tiny", pytest.param("anny", marks=needs_anny)])
def test_the_initial_rotation_stands_the_body_before_the_camera(name):
    body = load_body(name)
    rotations = from_6d(body.init_6d)[None]
    torch.testing.assert_close(rotation_to_6d(rotations[0]), body.init_6d)
    _, joints = body(rotations, torch.zeros(1, body.n_shape))
    assert joints[0, body.head_idx, 1] < -0.3  # y points down: the head is above the pelvis
    torch.testing.assert_close(joints[0, body.pelvis_idx], torch.zeros(3))


@pytest.mark.parametrize("name", ["tiny", pytest.param("anny", marks=needs_anny)])
def test_a_turned_root_turns_the_body_and_gradients_are_finite(name):
    body = load_body(name)
    turn = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    rotations = identity(body, 2)
    rotations[1, 0] = turn
    rotations.requires_grad_()
    shape = torch.zeros(2, body.n_shape, requires_grad=True)
    vertices, joints = body(rotations, shape)
    torch.testing.assert_close(vertices[1], vertices[0] @ turn.T, atol=1e-5, rtol=1e-5)
    (vertices[:, ::7].pow(2).sum() + joints.sum()).backward()
    assert torch.isfinite(rotations.grad).all()
    assert torch.isfinite(shape.grad).all()
    assert shape.grad.abs().sum() > 0


@needs_anny
def test_anny_trains_after_its_first_use_was_inference():
    """Constants that are made inside inference mode cannot take part in a gradient."""
    code = """
import torch
from codistill.bodies import load_body
body = load_body("anny")
rotations = torch.eye(3).repeat(1, body.n_rot, 1, 1)
with torch.inference_mode():
    body(rotations, torch.zeros(1, body.n_shape))
shape = torch.zeros(1, body.n_shape, requires_grad=True)
body(rotations, shape)[0].sum().backward()
assert shape.grad.isfinite().all()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def test_tiny_limbs_move_with_their_joint_only():
    body = load_body("tiny")
    rotations = identity(body)
    bent = rotations.clone()
    bent[0, body.rotation_names.index("arm")] = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    shape = torch.zeros(1, 2)
    moved = (body(bent, shape)[0] - body(rotations, shape)[0]).abs().sum(dim=-1)[0] > 1e-6
    arm = body.owner == body.joint_names.index("arm")
    assert moved[arm].any()
    assert not moved[~arm].any()


def test_wrong_shapes_and_names_say_what_is_wanted():
    body = load_body("tiny")
    with pytest.raises(ValueError, match=r"\(person, 5, 3, 3\)"):
        body(torch.eye(3).repeat(1, 4, 1, 1), torch.zeros(1, 2))
    with pytest.raises(ConfigError, match="Did you mean 'tiny'"):
        load_body("tinny")


@needs_anny
class TestAnny:
    def test_golden_bounding_box_and_head(self, anny):
        vertices, joints = anny.pose(identity(anny), torch.full((1, 6), 0.5))
        np.testing.assert_allclose(vertices[0].min(0).values, [-0.52166, -0.32368, -0.86600], atol=2e-4)
        np.testing.assert_allclose(vertices[0].max(0).values, [0.52166, 0.10115, 0.75920], atol=2e-4)
        np.testing.assert_allclose(joints[0, anny.head_idx], [0.00014, -0.02976, 0.60928], atol=2e-4)

    @pytest.mark.parametrize(
        ("name", "value", "height"), [("age", 0.25, 1.227), ("height", 1.0, 2.136), ("age", 1.0, 1.812)]
    )
    def test_golden_heights(self, anny, name, value, height):
        from codistill.bodies.anny import PHENOTYPES

        shape = torch.full((1, 6), 0.5)
        shape[0, PHENOTYPES.index(name)] = value
        z = anny.pose(identity(anny), shape)[0][0, :, 2]
        assert float(z.max() - z.min()) == pytest.approx(height, abs=2e-3)

    def test_a_batch_gives_what_its_rows_give(self, anny):
        shape = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
        together = anny(identity(anny, 5), shape)[0]
        alone = anny(identity(anny), shape[3:4])[0]
        torch.testing.assert_close(together[3:4], alone, atol=1e-5, rtol=1e-5)

    def test_toes_and_eyes_are_not_free_and_nothing_is_saved(self, anny):
        assert anny.n_rot == 74
        assert not [n for n in anny.rotation_names if n.startswith(("toe", "eye"))]
        assert anny.state_dict() == {}

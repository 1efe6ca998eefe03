import numpy as np
import pytest
import torch

from codistill.bodies.anny import anny_is_built
from codistill.world.poses import FAMILIES, NOVEL_FAMILIES, aligning, draw_pose

needs_anny = pytest.mark.skipif(
    not anny_is_built(), reason="Anny is not built yet; `codistill world build` does it"
)


@pytest.mark.parametrize("name", [*FAMILIES, *NOVEL_FAMILIES])
def test_poses_are_rotations_within_the_limits_of_joints(name):
    for seed in range(20):
        pose = (FAMILIES | NOVEL_FAMILIES)[name](np.random.default_rng(seed))
        for joint, matrix in pose.joints.items():
            np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-9, err_msg=joint)
            angle = np.degrees(np.arccos(np.clip((np.trace(matrix) - 1) / 2, -1, 1)))
            limit = 150 if joint.startswith(("upper", "lower")) else 70
            assert angle < limit, (joint, angle)


def test_training_never_draws_a_held_out_family():
    rng = np.random.default_rng(0)
    assert {draw_pose(rng, novel=False).family for _ in range(200)} == set(FAMILIES)
    assert {draw_pose(rng, novel=True).family for _ in range(200)} == set(NOVEL_FAMILIES)


def test_the_aligning_rotation_aligns():
    a, b = np.array([1.0, 2.0, -0.5]), np.array([-0.3, 0.4, 2.0])
    turned = aligning(a, b) @ a / np.linalg.norm(a)
    np.testing.assert_allclose(turned, b / np.linalg.norm(b), atol=1e-12)


def test_points_inside_a_solid_are_told():
    pytest.importorskip("embreex")
    from codistill.world.penetration import Solid
    from codistill.world.shapes import ellipsoid

    ball = ellipsoid(2.0)
    points = np.array([[0, 0, 0], [0.8, 0, 0.1], [1.2, 0, 0], [0, 0, -3.0]], np.float32)
    assert Solid(ball.vertices, ball.faces).contains(points).tolist() == [True, True, False, False]


@needs_anny
def test_stored_people_come_back_from_the_body_model(tiny_people_world):
    from codistill.bodies.anny import AnnyBody
    from codistill.world.checks import check_heads
    from codistill.world.dataset import World

    data = World(tiny_people_world).people("train")
    assert check_heads([data[i] for i in range(len(data))]).passed
    body, one = AnnyBody(), data[0]
    count = len(one.phenotypes)
    angle = one.rotation_vectors.norm(dim=-1, keepdim=True).clamp(min=1e-9)
    axis = one.rotation_vectors / angle
    skew = torch.zeros(*axis.shape[:-1], 3, 3)
    skew[..., 0, 1], skew[..., 0, 2], skew[..., 1, 2] = -axis[..., 2], axis[..., 1], -axis[..., 0]
    skew = skew - skew.transpose(-1, -2)
    rotations = torch.matrix_exp(skew * angle[..., None])
    with torch.inference_mode():
        vertices, joints = body.pose(rotations, one.phenotypes)
    torch.testing.assert_close(joints + one.translations[:, None], one.joints_3d, atol=2e-3, rtol=0)
    # The silhouette of the vertices is where the instance map says.
    vertices = vertices + one.translations[:, None]
    pixels = (vertices @ one.intrinsics.T)[..., :2] / vertices[..., 2:]
    for person in range(count):
        if one.visible[person] < 0.9:
            continue
        column, row = pixels[person].round().long().unbind(-1)
        seen = (column >= 0) & (column < 112) & (row >= 0) & (row < 112)
        hit = one.instances[row[seen], column[seen]] == one.instance_ids[person]
        assert hit.float().mean() > 0.75


@needs_anny
def test_people_do_not_run_into_themselves_or_hang_in_the_air(tiny_people_world):
    from codistill.world.dataset import World, read_facts

    data = World(tiny_people_world).people("train")
    for source in data.sources():
        people = [p for i in range(len(source)) for p in read_facts(source, i)["people"]]
    assert np.mean([p["penetration"] <= 0.03 for p in people]) > 0.9
    assert all(0.1 <= p["phenotypes"]["age"] <= 1.0 for p in people)


@pytest.mark.parametrize(("distance", "across"), [(3.0, 0.0), (3.0, 1.4), (0.52, 0.0)])
def test_a_silhouette_is_counted_as_by_all_rays(distance, across):
    """Of a ball: beside the picture too, and so near that its projection is not bounded by that of its vertices."""
    pytest.importorskip("embreex")
    from codistill.render.camera import Camera
    from codistill.render.trace import Tracer
    from codistill.world.people import silhouette_pixels
    from codistill.world.shapes import ellipsoid

    ball = ellipsoid(1.0)
    camera = Camera.looking(
        np.array([-distance, across, 0.0]), np.array([0.0, across, 0.0]), 55.0, 112, roll=0.0
    )
    found = silhouette_pixels(ball.vertices, ball.faces, camera)
    wide = camera.intrinsics.copy()
    wide[:2] *= 64 / 112
    wide[0, 2] = wide[1, 2] = 63.5
    rays = Camera(wide, camera.pose, 128, 128).directions()
    origins = np.broadcast_to(camera.position, rays.shape)
    slow = (Tracer(ball.vertices, ball.faces).first_hits(origins, rays).face >= 0).sum() * (112 / 64) ** 2
    assert found == pytest.approx(slow, rel=1e-9) and slow > 0


@needs_anny
def test_far_bodies_have_fewer_triangles_of_the_same_surface():
    from codistill.bodies.anny import AnnyBody
    from codistill.render.camera import Camera
    from codistill.world.crowd import faces_for
    from codistill.world.people import silhouette_pixels

    body = AnnyBody()
    vertices = body.pose(torch.eye(3).expand(1, body.n_rot, 3, 3), torch.full((1, 6), 0.5))[0][0].numpy()
    every = body.faces.numpy().astype(np.int32)
    cameras = [
        Camera.looking(np.array([0.0, -away, 0.2]), np.zeros(3), 55.0, 112, roll=0.0)
        for away in (0.5, 2.0, 6.0)
    ]
    near, middle, far = (faces_for(body, vertices, camera) for camera in cameras)
    assert len(every) >= len(near) > len(middle) > len(far) > 4000
    for faces, camera in ((middle, cameras[1]), (far, cameras[2])):
        coarse, exact = (silhouette_pixels(vertices, f, camera) for f in (faces, every))
        assert coarse == pytest.approx(exact, rel=0.03)

import numpy as np
import pytest
import torch

from codistill.geometry.normals import normals_of_depth
from codistill.geometry.projection import depth_to_pointmap
from codistill.imaging.depth16 import from_metres, to_metres

INTRINSICS = torch.tensor([[90.0, 0.0, 31.0], [0.0, 110.0, 20.0], [0.0, 0.0, 1.0]])
SIZE = (48, 64)


def rays() -> torch.Tensor:
    return depth_to_pointmap(torch.ones(SIZE, dtype=torch.float64), INTRINSICS.double())


def plane(normal: list[float], distance: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Depth of the plane n . X = -distance, n towards the camera, and n."""
    vector = torch.tensor(normal, dtype=torch.float64)
    vector = vector / vector.norm()
    return -distance / (rays() @ vector), vector


def degrees(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return torch.rad2deg(torch.acos((one.double() * other.double()).sum(-1).clamp(-1, 1)))


@pytest.mark.parametrize("normal", [[0, 0, -1], [0.3, -0.5, -1], [-0.9, 0.1, -0.6], [0.0, -0.97, -0.3]])
def test_a_plane_has_one_normal_at_any_slant_up_to_the_border(normal):
    depth, vector = plane(normal, 2.0)
    depth = torch.where((depth > 0) & (depth < 40), depth, 0.0)
    found = normals_of_depth(depth.float(), INTRINSICS)
    known = found.any(-1)
    assert known.sum() > 0.9 * (depth > 0).sum() and found.dtype == torch.float32
    assert degrees(found, vector.expand_as(found))[known].max() < 0.05
    torch.testing.assert_close(found[known].norm(dim=-1), torch.ones(int(known.sum())))


def test_normals_point_towards_the_camera_and_turn_with_a_sphere():
    centre, radius = torch.tensor([0.1, 0.0, 3.0], dtype=torch.float64), 0.8
    directions = rays()
    half, square = directions @ centre, (directions**2).sum(-1)
    root = half**2 - square * (centre @ centre - radius**2)
    depth = torch.where(root > 0, (half - root.clamp(min=0).sqrt()) / square, torch.inf)
    found = normals_of_depth(depth, INTRINSICS)
    known = found.any(-1)
    truth = (directions * depth[..., None] - centre) / radius
    assert (found.double() * directions).sum(-1)[known].max() < 0
    assert not known[torch.isinf(depth)].any()
    assert degrees(found, truth)[known].median() < 1.0


def test_no_normal_spans_an_edge_and_a_crease_keeps_both_sides():
    wall, one = plane([0, 0, -1], 3.0)
    floor, two = plane([0.0, -1.0, -0.05], 1.0)
    depth = torch.where((floor > 0) & (floor < wall), floor, wall)
    on_floor = depth < wall
    depth[5:12, 20:40] = 1.5  # something in front of the wall
    found = normals_of_depth(depth, INTRINSICS)
    known = found.any(-1)
    truth = torch.where(on_floor[..., None], two, one)
    assert degrees(found, truth)[known].max() < 1.0
    assert known.float().mean() > 0.97


def test_unknown_depth_and_thin_things_have_no_normal():
    depth, _ = plane([0.1, 0.0, -1.0], 2.0)
    depth[10:20, 30] = 1.0  # one pixel wide
    depth[30, 30:34] = torch.tensor([0.0, torch.inf, torch.nan, -1.0])
    found = normals_of_depth(depth, INTRINSICS)
    assert not found[11:19, 30].any() and not found[30, 30:34].any()
    assert found[30, 29].any() and found.isfinite().all()


def test_rounding_to_millimetres_matters_little():
    depth, vector = plane([0.4, -0.3, -1.0], 4.0)
    found = normals_of_depth((depth * 1000).round() / 1000, INTRINSICS)
    errors = degrees(found, vector.expand_as(found))[found.any(-1)]
    assert found.any(-1).float().mean() > 0.99
    assert errors.median() < 1.0 and errors.max() < 4.0


def test_they_are_those_of_the_meshes_in_the_embedded_world():
    pytest.importorskip("embreex", reason="needs the extra `world`")
    from codistill.render.mesh import face_normals
    from codistill.render.picture import pixel_centers
    from codistill.render.scene import MergedScene
    from codistill.world.compose import compose
    from codistill.world.identity import SceneId

    for domain, index in (("rooms", 0), ("rooms", 1), ("objects", 0)):
        shot = compose(SceneId(seed=3, domain=domain, split="train", index=index), 112)
        merged, camera = MergedScene(shot.scene), shot.cameras[0]
        hits = pixel_centers(merged, camera).hits
        world = face_normals(merged.vertices, merged.faces)[np.maximum(hits.face, 0)]
        away = np.einsum("ij,ij->i", world, camera.directions()) > 0
        truth = torch.from_numpy(np.where(away[:, None], -world, world) @ camera.pose[:3, :3])
        depth = to_metres(from_metres(hits.distance.reshape(112, 112)))
        found = normals_of_depth(torch.from_numpy(depth), torch.from_numpy(camera.intrinsics))
        known = found.any(-1)
        errors = degrees(found, truth.reshape(112, 112, 3))[known]
        assert known.sum() > 0.8 * np.isfinite(depth).sum()
        assert errors.median() < 1.0 and (errors < 10).float().mean() > 0.85


def test_depth_in_whole_metres_has_normals_of_full_precision():
    depth = (torch.arange(SIZE[1]) // 16 + 3).expand(SIZE)
    torch.testing.assert_close(
        normals_of_depth(depth, INTRINSICS), normals_of_depth(depth.float(), INTRINSICS)
    )

"""Reprojection on a scene whose truth is known in closed form: a wall with a box in front of it."""

import torch

from codistill.geometry.cameras import camera_matrix
from codistill.geometry.correspondences import (
    PosedDepth,
    reciprocal_correspondences,
    reproject,
    sample_correspondences,
)

ROWS, COLUMNS, FOCAL = 40, 60, 50.0
K = camera_matrix(FOCAL, ((COLUMNS - 1) / 2, (ROWS - 1) / 2)).double()


def view(shift_x: float, box: bool = True) -> PosedDepth:
    """A camera at (shift_x, 0, 0) looking along z: wall at z = 4, a box face |x|, |y| <= 0.4 at z = 2."""
    pose = torch.eye(4, dtype=torch.float64)
    pose[0, 3] = -shift_x
    depth = torch.full((ROWS, COLUMNS), 4.0, dtype=torch.float64)
    if box:
        y, x = torch.meshgrid(torch.arange(ROWS), torch.arange(COLUMNS), indexing="ij")
        world_x = (x - K[0, 2]) / FOCAL * 2.0 + shift_x
        world_y = (y - K[1, 2]) / FOCAL * 2.0
        depth[(world_x.abs() <= 0.4) & (world_y.abs() <= 0.4)] = 2.0
    return PosedDepth(depth=depth, intrinsics=K, world_to_camera=pose)


def test_a_sideways_step_shifts_pixels_by_disparity() -> None:
    found = reproject(view(0.0), view(0.4))
    wall = view(0.0).depth == 4.0
    y, x = torch.meshgrid(torch.arange(ROWS), torch.arange(COLUMNS), indexing="ij")
    disparity = FOCAL * 0.4 / view(0.0).depth
    torch.testing.assert_close(found.pixels[..., 0], x - disparity)
    torch.testing.assert_close(found.pixels[..., 1], y.double())
    assert not found.visible[(x - disparity < -0.5)].any()
    assert found.visible[wall & (x - disparity > -0.5)].sum() > 0


def test_occluded_points_are_not_visible() -> None:
    near, far = view(0.0), view(0.4)
    found = reproject(near, far)
    behind = (near.depth == 4.0) & (
        far.depth[:, :].gather(1, found.pixels[..., 0].round().long().clamp(0, 59)) == 2
    )
    assert behind.sum() > 50
    assert not found.visible[behind].any()
    # With no occlusion test to speak of, the same pixels would count.
    blind = reproject(near, far, depth_tolerance=10.0)
    assert blind.visible[behind & (found.pixels[..., 0] > -0.5)].all()


def test_reciprocal_pairs_are_one_to_one_and_symmetric() -> None:
    xy1, xy2 = reciprocal_correspondences(view(0.0), view(0.37))
    assert len(xy1) > 800
    assert len(torch.unique(xy1, dim=0)) == len(torch.unique(xy2, dim=0)) == len(xy1)
    back2, back1 = reciprocal_correspondences(view(0.37), view(0.0))
    pairs = {tuple(row) for row in torch.cat((xy1, xy2), 1).tolist()}
    assert pairs == {tuple(row) for row in torch.cat((back1, back2), 1).tolist()}


def test_a_view_of_itself_and_unknown_depth() -> None:
    whole = view(0.0)
    xy1, xy2 = reciprocal_correspondences(whole, whole)
    assert torch.equal(xy1, xy2) and len(xy1) == ROWS * COLUMNS
    holes = whole.depth.clone()
    holes[:, :30] = 0.0
    holes[0, 40] = torch.nan
    holed = PosedDepth(depth=holes, intrinsics=K, world_to_camera=whole.world_to_camera)
    xy1, _ = reciprocal_correspondences(holed, whole)
    assert len(xy1) == ROWS * 30 - 1
    assert reciprocal_correspondences(whole, holed)[1][:, 0].min() == 30
    nothing = PosedDepth(depth=torch.zeros_like(holes), intrinsics=K, world_to_camera=whole.world_to_camera)
    assert len(reciprocal_correspondences(nothing, whole)[0]) == 0


def test_a_camera_looking_away_sees_nothing() -> None:
    back = torch.diag(torch.tensor([-1.0, 1.0, -1.0, 1.0], dtype=torch.float64))
    away = PosedDepth(depth=view(0.0).depth, intrinsics=K, world_to_camera=back)
    assert len(reciprocal_correspondences(view(0.0), away)[0]) == 0


def test_sampling_is_seeded_and_keeps_half_for_false_pairs() -> None:
    xy1, xy2 = reciprocal_correspondences(view(0.0), view(0.37))

    def draw(seed: int, count: int = 512) -> tuple[torch.Tensor, ...]:
        generator = torch.Generator().manual_seed(seed)
        return sample_correspondences(xy1, xy2, (ROWS, COLUMNS), (ROWS, COLUMNS), count, generator=generator)

    a1, a2, valid = draw(0)
    assert a1.shape == a2.shape == (512, 2) and int(valid.sum()) == 256
    assert all(torch.equal(x, y) for x, y in zip(draw(0), (a1, a2, valid), strict=True))
    assert not torch.equal(draw(1)[0], a1)
    pairs = {tuple(row) for row in torch.cat((xy1, xy2), 1).tolist()}
    chosen = [tuple(row) for row in torch.cat((a1, a2), 1)[valid].tolist()]
    assert set(chosen) <= pairs and len(set(chosen)) == 256
    assert a1[:, 0].max() < COLUMNS and a1[:, 1].max() < ROWS and a1.min() >= 0
    # Fewer true ones than asked for: the rest is filled with false ones.
    assert int(draw(0, 8192)[2].sum()) == min(4096, len(xy1))

"""Rays, Fourier features and depth: published numbers, round trips, the swapped rays of released files."""

import math

import pytest
import torch
from people_toys import made_cameras

from codistill.geometry.projection import project, unproject
from codistill.heads.human_mesh.camera import (
    cell_centers,
    cell_rays,
    decode_depth,
    encode_depth,
    fourier_features,
)


def test_fourier_features_as_published() -> None:
    features = fourier_features(torch.tensor([0.1, -0.2, 1.0]), 16, 64.0)
    assert features.shape == (99,)
    torch.testing.assert_close(features[3:6], torch.tensor([0.3090170, 0.8211492, 0.9991228]))
    torch.testing.assert_close(features[19], torch.tensor(-0.5877853))
    torch.testing.assert_close(features[51:54], torch.tensor([0.9510566, 0.5707136, -0.0418757]))


def test_rays_meet_the_centres_of_their_cells() -> None:
    cameras = made_cameras()
    rays = cell_rays(cameras, (4, 6), 14)
    assert rays.shape == (3, 24, 3)
    # Pixels 14 j to 14 j + 13 belong to column j: their mean is 14 j + 6.5.
    pixels = project(rays, cameras)
    torch.testing.assert_close(pixels[1, 0], torch.tensor([6.5, 6.5]))
    torch.testing.assert_close(pixels[2, 6 + 5], torch.tensor([5 * 14 + 6.5, 14 + 6.5]))


def test_swapped_rays_take_rows_for_x() -> None:
    cameras = made_cameras(1)
    swapped = cell_rays(cameras, (4, 6), 14, swapped=True).unflatten(1, (4, 6))
    row, column = 3, 1
    expected = torch.linalg.inv(cameras[0]) @ torch.tensor([row * 14 + 6.5, column * 14 + 6.5, 1.0])
    torch.testing.assert_close(swapped[0, row, column], expected)


def test_depth_as_published() -> None:
    encoded = encode_depth(torch.tensor(3.0), torch.tensor(600.0), (672, 672))
    assert float(encoded) == pytest.approx(1.0655973, abs=1e-6)
    at_sixty_degrees = torch.tensor(0.5 * 672 / math.tan(math.radians(30)))
    assert float(at_sixty_degrees) == pytest.approx(581.969071, abs=1e-3)
    assert float(encode_depth(torch.tensor(5.0), at_sixty_degrees, (672, 672))) == pytest.approx(
        math.log(5.0)
    )


def test_depth_round_trip_and_limits() -> None:
    depth = torch.tensor([0.3, 1.0, 7.5, 49.0], dtype=torch.float64)
    focal = torch.tensor([300.0, 500.0, 600.0, 900.0], dtype=torch.float64)
    encoded = encode_depth(depth, focal, (448, 448))
    torch.testing.assert_close(decode_depth(encoded, focal, (448, 448)), depth)
    # A rectangular image is the centre of the square it would be padded to.
    torch.testing.assert_close(encode_depth(depth, focal, (224, 448)), encoded)
    far = torch.tensor([5.0, 1e6, -1e6], requires_grad=True)
    found = decode_depth(far, torch.full((3,), 500.0), (448, 448))
    assert found.tolist() == [50.0, 50.0, 0.0]
    found.sum().backward()
    assert far.grad is not None and far.grad.tolist() == [0.0, 0.0, 0.0]


def test_a_place_in_a_cell_projects_back() -> None:
    cameras = made_cameras(2)
    pixels = cell_centers(torch.tensor([1.3, 4.0]), torch.tensor([2.0, 0.2]), 14)
    torch.testing.assert_close(pixels[0], torch.tensor([2.0 * 14 + 6.5, 1.3 * 14 + 6.5]))
    points = unproject(pixels, torch.tensor([3.0, 5.0]), cameras)
    torch.testing.assert_close(project(points, cameras), pixels)

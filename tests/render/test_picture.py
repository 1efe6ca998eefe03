"""Scenes whose picture is known by hand: a floor under a ball."""

import numpy as np
import pytest

from codistill.render.camera import Camera
from codistill.render.film import Film, develop
from codistill.render.lights import Light, Sky, cosine_directions
from codistill.render.materials import Material
from codistill.render.mesh import Mesh, corner_normals

pytest.importorskip("embreex", reason="needs the extra `world`")

from codistill.render.picture import render
from codistill.render.scene import Item, MergedScene, Scene

BLACK_SKY = Sky(zenith=(0, 0, 0), horizon=(0, 0, 0), ground=(0, 0, 0))
CHALK = Material(first=(0.5, 0.5, 0.5), variation=0, gloss=0)


def plane(z: float, half: float, center: float = 0.0) -> Mesh:
    corners = [
        [center - half, -half, z],
        [center + half, -half, z],
        [center + half, half, z],
        [center - half, half, z],
    ]
    return Mesh(np.array(corners, np.float32), np.array([[0, 1, 2], [0, 2, 3]], np.int32), smooth=False)


def overhead(size: int = 32) -> Camera:
    return Camera.looking(np.array([0.0, 1e-4, 4.0]), np.zeros(3), 60.0, size)


def test_depth_labels_and_light_of_a_floor():
    light = Light(color=(2.0, 1.0, 0.5), direction=(0.0, 0.6, 0.8), radius=0.0)
    merged = MergedScene(Scene([Item(plane(0.0, 10), CHALK, label=7, instance=3)], [light], BLACK_SKY))
    picture = render(merged, overhead(), np.random.default_rng(0))
    np.testing.assert_allclose(picture.depth, 4.0, atol=1e-3)  # z-depth of a plane seen head-on is constant
    assert (picture.label == 7).all()
    assert (picture.instance == 3).all()
    np.testing.assert_allclose(
        picture.linear[8:-8, 8:-8].mean(axis=(0, 1)), 0.5 * 0.8 * np.array([2, 1, 0.5]), rtol=1e-3
    )


def test_a_lid_casts_a_shadow_and_hides_the_sky():
    sun = Light(color=(1.0, 1.0, 1.0), direction=(0.0, 0.0, 1.0), radius=0.0)
    sky = Sky(zenith=(1, 1, 1), horizon=(1, 1, 1), ground=(1, 1, 1))
    camera = Camera.looking(np.array([0.0, -3.0, 1.0]), np.array([0.0, 0.0, 0.0]), 40.0, 48)
    floor = Item(plane(0.0, 8), CHALK, 1)
    open_one = render(MergedScene(Scene([floor], [sun], sky)), camera, np.random.default_rng(0))
    lid = Item(plane(0.6, 0.8), CHALK, 2, 1)
    covered = render(MergedScene(Scene([floor, lid], [sun], sky)), camera, np.random.default_rng(0))
    row, column = (round(float(v)) for v in camera.project(np.zeros((1, 3)))[0][0][::-1])
    assert covered.label[row, column] == 1
    assert open_one.linear[row, column].mean() == pytest.approx(0.5 * (1 + 1), rel=0.02)  # sun and whole sky
    assert covered.linear[row, column].mean() < 0.45  # no sun (0.5), and less than the whole sky (0.5)


def test_the_sky_is_infinitely_far_and_the_same_seed_gives_the_same_picture():
    scene = Scene(
        [Item(plane(0.0, 1.0), CHALK, 1)], [Light(color=(1, 1, 1), position=(0, 0, 2.0))], BLACK_SKY
    )
    pictures = [render(MergedScene(scene), overhead(), np.random.default_rng(5)) for _ in range(2)]
    assert np.isinf(pictures[0].depth[0, 0])
    assert pictures[0].label[0, 0] == 255
    np.testing.assert_array_equal(pictures[0].linear, pictures[1].linear)


def test_projection_inverts_the_rays():
    camera = Camera.looking(np.array([1.0, -2.0, 1.5]), np.array([0.2, 0.1, 0.3]), 50.0, 20, roll=10)
    points = camera.position + camera.directions() * 3.0
    pixels, depth = camera.project(points)
    np.testing.assert_allclose(depth, 3.0, rtol=1e-5)
    columns, rows = np.meshgrid(np.arange(20), np.arange(20))
    np.testing.assert_allclose(pixels, np.stack([columns.ravel(), rows.ravel()], axis=1), atol=1e-4)


def test_hemisphere_samples_have_the_cosine_density():
    square = np.random.default_rng(0).random((200_000, 2)).astype(np.float32)
    normal = np.tile(np.array([[0.6, 0.0, 0.8]], np.float32), (len(square), 1))
    directions = cosine_directions(normal, square)
    cosine = (directions * normal).sum(axis=1)
    assert cosine.min() >= -1e-5
    assert cosine.mean() == pytest.approx(2 / 3, abs=0.005)  # E[cos] under cos/π
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1.0, atol=1e-4)


def test_smooth_normals_average_flat_edges_and_keep_sharp_ones():
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0.1]], np.float32)
    faces = np.array([[0, 1, 2], [1, 3, 2]], np.int32)
    gentle = corner_normals(Mesh(vertices, faces))
    np.testing.assert_allclose(gentle[0, 1], gentle[1, 0], atol=1e-6)
    steep = vertices.copy()
    steep[3, 2] = 3.0
    sharp = corner_normals(Mesh(steep, faces))
    np.testing.assert_allclose(sharp[0, 1], [0, 0, 1], atol=1e-6)


def test_exposure_makes_pictures_of_dim_and_bright_light_alike():
    scene = np.random.default_rng(0).uniform(0.05, 0.5, (24, 24, 3)).astype(np.float32)
    film = Film(noise=0.0, vignette=0.0)
    dim, bright = (develop(scene * k, film, np.random.default_rng(0)) for k in (0.01, 100.0))
    assert np.abs(dim.astype(int) - bright.astype(int)).max() <= 1
    assert 60 < dim.mean() < 190

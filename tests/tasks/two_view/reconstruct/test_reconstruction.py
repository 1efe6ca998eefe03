import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pair_toys import INTRINSICS, OraclePredictor, look, plane_view
from PIL import Image
from scipy.optimize import minimize_scalar
from scipy.spatial.transform import Rotation

from codistill.errors import ConfigError, DataError
from codistill.tasks.two_view.reconstruct.align import AlignConfig, align, depth_along
from codistill.tasks.two_view.reconstruct.edges import build_graph, check_connected, choose_pairs
from codistill.tasks.two_view.reconstruct.files import check_target, write_scene
from codistill.tasks.two_view.reconstruct.images import SourceImage, read_image
from codistill.tasks.two_view.reconstruct.preview import preview, render_points
from codistill.tasks.two_view.reconstruct.reconstruct import ReconstructConfig, reconstruct, scene_of
from codistill.tasks.two_view.reconstruct.start import first_guess, spanning_tree
from codistill.tasks.two_view.sight import TwoViewAnswer

POSES = (look(0, 0, 0), look(0.3, 0.1, -6), look(-0.2, 0.05, 5))


def _images(sizes=((56, 84),) * 3, focal=None):
    views = []
    for number, (pose, size) in enumerate(zip(POSES, sizes, strict=True)):
        k = INTRINSICS.copy()
        k[0, 2], k[1, 2] = (size[1] - 1) / 2, (size[0] - 1) / 2
        views.append(plane_view(pose, str(number), size, k))
    return views, [SourceImage(Path(f"{v.name}.png"), v.image, focal) for v in views]


def _relative(poses):
    return [np.linalg.inv(poses[0]) @ pose for pose in poses]


@pytest.fixture(scope="module")
def scene():
    """Three views, one of another size, whose pairs all come in different scales of mean 1."""
    views, images = _images(((56, 84), (42, 70), (56, 84)))
    predictor = OraclePredictor(views, scales=[0.5, 1.0, 2.0])
    return reconstruct(predictor, images, ReconstructConfig(align=AlignConfig(iterations=100)))


def test_perfect_pairs_of_any_scale_give_the_true_cameras(scene):
    for camera, truth in zip(scene.cameras, _relative(POSES), strict=True):
        found = camera.camera_to_world
        turn = found[:3, :3] @ truth[:3, :3].T
        assert np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1))) < 0.6
        # The scales 1/2, 1, 2 have product 1: lengths are metres.
        np.testing.assert_allclose(found[:3, 3], truth[:3, 3], atol=0.03)
        assert camera.focal == pytest.approx(70.0, rel=0.02)


def test_points_lie_on_the_plane_and_the_least_confident_are_dropped(scene):
    error = np.abs(scene.points[:, 2] - 3.0 - 0.2 * scene.points[:, 0])
    assert np.median(error) < 0.03
    assert len(scene.points) == len(scene.colours) == 56 * 84 * 2 + 42 * 70  # all are equally confident


def test_alignment_mends_a_wrong_first_guess():
    views, images = _images()
    graph = build_graph(OraclePredictor(views), images, choose_pairs(3))
    start = first_guess(graph, images)
    moved = start.camera_to_world[1].clone()
    moved[:3, 3] += torch.tensor([0.3, -0.2, 0.2])
    start.camera_to_world[1] = moved
    found = align(graph, start, [False] * 3, AlignConfig(iterations=200))
    truth = _relative(POSES)[1]
    poses = [pose.numpy() for pose in found.camera_to_world]
    before = np.linalg.norm(_relative([p.numpy() for p in start.camera_to_world])[1][:3, 3] - truth[:3, 3])
    after = np.linalg.norm(_relative(poses)[1][:3, 3] - truth[:3, 3])
    assert before > 0.35 and after < 0.1
    assert found.losses[-1] < 0.2 * found.losses[0]


@pytest.mark.parametrize("noise", [0.0, 0.03])
def test_optimized_depth_is_that_of_every_pixel_at_odd_sizes(noise):
    """Of a first guess without any relief, and better than the single predictions where these are noisy."""
    views, images = _images(((57, 85), (43, 71), (56, 84)))
    graph = build_graph(OraclePredictor(views), images, choose_pairs(3))
    draw = torch.Generator().manual_seed(0)

    def disturbed(points):
        return points * (1 + noise * torch.randn(points.shape[:2], generator=draw))[..., None]

    start = first_guess(graph, images)
    edges = tuple(replace(e, points=(disturbed(e.points[0]), disturbed(e.points[1]))) for e in graph.edges)
    truth = [depth.clone() for depth in start.depths]
    for depth in start.depths:
        depth.fill_(float(depth.median()))
    config = AlignConfig(iterations=1, lr=1e-7, pixels=500)  # cameras stay
    found = align(replace(graph, edges=edges), start, [True] * 3, config)
    for depth, true in zip(found.depths, truth, strict=True):
        error = (depth / true - 1).abs().flatten()
        assert depth.shape == true.shape
        assert torch.quantile(error, 0.95) < (0.002 if not noise else 0.8 * 2 * noise)
        assert error.median() < max(0.0002, 0.75 * 0.6745 * noise)  # four predictions of a pixel, not one


def test_most_of_several_predictions_decide_a_pixels_depth():
    rays = torch.tensor([[[0.1, -0.2, 1.0], [0.0, 0.3, 1.0]]])
    points = [rays * depth for depth in (2.0, 2.0, 2.02, 9.0)]
    weights = [torch.ones(1, 2)] * 4
    torch.testing.assert_close(
        depth_along(rays, points, weights), torch.full((1, 2), 2.0), atol=0.021, rtol=0
    )
    alone = depth_along(rays, [rays * 3.0 + torch.tensor([0.2, -0.1, 0.0])], [torch.ones(1, 2)])
    best = minimize_scalar(
        lambda z: float(((rays[0, 0] * z - rays[0, 0] * 3 - torch.tensor([0.2, -0.1, 0])) ** 2).sum())
    )
    assert float(alone[0, 0]) == pytest.approx(best.x, abs=2e-4)


def test_a_known_focal_length_stays():
    views, images = _images(focal=80.0)
    graph = build_graph(OraclePredictor(views), images, choose_pairs(3))
    found = align(graph, first_guess(graph, images), [True] * 3, AlignConfig(iterations=5))
    np.testing.assert_allclose(found.focals, 80.0, rtol=1e-5)


def test_the_same_image_twice_has_no_baseline():
    views, images = _images()
    result = reconstruct(OraclePredictor(views), [images[0], images[0]], ReconstructConfig())
    np.testing.assert_allclose(result.cameras[1].camera_to_world, np.eye(4), atol=0.01)


def test_pairs_and_trees():
    assert choose_pairs(3) == [(0, 1), (0, 2), (1, 2)]
    assert choose_pairs(4, window=1) == [(0, 1), (1, 2), (2, 3)]
    with pytest.raises(ConfigError, match="two images at least; got 1"):
        choose_pairs(1)
    with pytest.raises(ConfigError, match="window must be 1 or more"):
        choose_pairs(3, window=0)
    views, images = _images()
    graph = build_graph(OraclePredictor(views), images, choose_pairs(3, window=1))
    tree = spanning_tree(graph.edges, 3)
    assert {frozenset((e.first, e.second)) for e in tree} == {frozenset((0, 1)), frozenset((1, 2))}


def test_images_that_nothing_connects_are_named():
    views, images = _images()
    graph = build_graph(OraclePredictor(views), images, choose_pairs(3))
    check_connected(graph, images, 12)
    with pytest.raises(DataError, match=r"no overlap was found between .*2\.png.* at best \d+ matches agree"):
        check_connected(graph, images, 10**6)


def test_a_pair_without_overlap_has_no_effect_on_the_scene():
    """However confident its wrong prediction is: of three images, the first and the last do not overlap."""
    views, images = _images()
    graph = build_graph(OraclePredictor(views), images, choose_pairs(3))
    config = ReconstructConfig(align=AlignConfig(iterations=0))

    def spoiled(edge):
        if {edge.first, edge.second} != {0, 2}:
            return edge
        wrong = (edge.points[0], edge.points[1].flip(-1))
        return replace(edge, points=wrong, confidence=tuple(2 * c for c in edge.confidence))

    links = tuple(replace(k, inliers=11) if (k.first, k.second) == (0, 2) else k for k in graph.links)
    wrong = replace(graph, edges=tuple(map(spoiled, graph.edges)), links=links)
    for least, right in ((12, True), (0, False)):
        found = scene_of(wrong, images, replace(config, min_matches=least))
        assert found.links == links
        places = [camera.camera_to_world[:3, 3] for camera in found.cameras]
        truth = [pose[:3, 3] for pose in _relative(POSES)]
        assert bool(np.abs(np.subtract(places, truth)).max() < 0.03) == right


def test_an_image_that_the_network_refuses_is_named():
    class Strict(OraclePredictor):
        def encode(self, image):
            if image.shape[0] < 14:
                raise DataError("the short side is below one patch")
            return super().encode(image)

    views, images = _images(((56, 84), (7, 84), (56, 84)))
    with pytest.raises(DataError, match=r"^1\.png: the short side is below one patch"):
        build_graph(Strict(views), images, choose_pairs(3))


def test_files_hold_the_scene(scene, tmp_path):
    trimesh = pytest.importorskip("trimesh")
    for name in ("s.ply", "s.glb", "s.json", "colmap"):
        write_scene(scene, tmp_path / name, {"model": "toy"})
    cloud = trimesh.load(tmp_path / "s.ply")
    np.testing.assert_allclose(cloud.vertices, scene.points, atol=1e-5)
    np.testing.assert_array_equal(cloud.colors[:, :3], scene.colours)
    model = trimesh.load(tmp_path / "s.glb")
    assert len(model.geometry) == 4  # points and three cameras
    y = scene.points[:, 1]
    assert model.bounds[1][1] >= -y.min() - 1e-3  # y points up in glTF
    told = json.loads((tmp_path / "s.json").read_text())
    assert told["cameras"][1]["height"] == 42 and told["points"] == len(scene.points)


def read_text_model(folder):
    """A COLMAP text model as its documentation says: fields end at blanks, an image has two lines."""

    def lines(name):
        text = (folder / name).read_text(encoding="utf-8").split("\n")
        return [line for line in text[:-1] if not line.startswith("#")]

    cameras = {}
    for line in lines("cameras.txt"):
        number, model, width, height, *parameters = line.split(" ")
        assert model == "PINHOLE" and len(parameters) == 4 and int(number) not in cameras
        cameras[int(number)] = (int(width), int(height), [float(value) for value in parameters])
    images, rows = {}, lines("images.txt")
    assert len(rows) % 2 == 0 and not any(rows[1::2])
    for line in rows[::2]:
        number, *pose, camera, name = line.split(" ")
        assert len(pose) == 7 and name not in images and int(camera) in cameras
        images[name] = ([float(value) for value in pose], int(camera), int(number))
    points = []
    for line in lines("points3D.txt"):
        _, x, y, z, red, green, blue, error = line.split(" ")
        assert float(error) >= 0
        points.append([float(x), float(y), float(z), int(red), int(green), int(blue)])
    return cameras, images, np.array(points)


def test_a_colmap_folder_fits_its_pictures_whatever_these_are_called_and_however_they_lie(scene, tmp_path):
    """Names with blanks, equal names, names of other scripts; a photograph that EXIF turns."""
    exif = Image.Exif()
    exif[0x0112] = 6
    paths = [
        tmp_path / "a" / "my photo (1).jpg",
        tmp_path / "b" / "my photo (1).jpg",
        tmp_path / "写真 #.jpg",
    ]
    cameras = []
    for path, camera in zip(paths, scene.cameras, strict=True):
        path.parent.mkdir(exist_ok=True)
        lying = np.rot90(camera.image.pixels)
        Image.fromarray(np.ascontiguousarray(lying)).save(path, exif=exif, quality=95)
        read = read_image(path)
        assert read.size == camera.image.size and read.orientation == 6
        cameras.append(replace(camera, image=read))
    turned = replace(scene, cameras=tuple(cameras))
    write_scene(turned, tmp_path / "model", {})
    found, images, points = read_text_model(tmp_path / "model")
    table = json.loads((tmp_path / "model" / "names.json").read_text())
    assert [table[name] for name in images] == [str(path) for path in paths]
    assert sorted(images) == sorted(path.name for path in (tmp_path / "model" / "images").iterdir())
    assert len({name.casefold() for name in images}) == 3
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+", name) for name in images)
    for (name, (pose, number, _)), camera in zip(images.items(), turned.cameras, strict=True):
        with Image.open(tmp_path / "model" / "images" / name) as picture:
            assert picture.size == found[number][:2] and picture.getexif().get(0x0112, 1) == 1
            np.testing.assert_array_equal(np.asarray(picture), camera.image.pixels)
        width, height, (fx, fy, cx, cy) = found[number]
        assert (cx, cy) == (width / 2, height / 2) and fx == fy == pytest.approx(camera.focal, abs=1e-5)
        turn = Rotation.from_quat(pose[:4], scalar_first=True).as_matrix()
        np.testing.assert_allclose(-turn.T @ pose[4:], camera.camera_to_world[:3, 3], atol=1e-5)
    np.testing.assert_allclose(points[:, :3], scene.points, atol=1e-5)
    write_scene(turned, tmp_path / "scene.json", {})
    told = json.loads((tmp_path / "scene.json").read_text())["cameras"]
    assert [camera["name"] for camera in told] == list(images)
    assert [(camera["width"], camera["height"], camera["exif_orientation"]) for camera in told] == [
        (*found[number][:2], 6) for _, number, _ in images.values()
    ]


def test_pycolmap_reads_the_folder(scene, tmp_path):
    pycolmap = pytest.importorskip("pycolmap")
    write_scene(scene, tmp_path / "model", {})
    model = pycolmap.Reconstruction(str(tmp_path / "model"))
    assert [image.name for image in model.images.values()] == list(scene.names())
    assert len(model.points3D) == len(scene.points)


def test_a_confidence_that_leaves_no_point_is_refused_before_the_alignment():
    views, images = _images()
    config = ReconstructConfig(min_confidence=1e6, align=AlignConfig(iterations=10**9))
    with pytest.raises(
        DataError, match=r"no point is left: a confidence of 1e\+06 .*the largest of \d+ pixels is"
    ):
        reconstruct(OraclePredictor(views), images, config)
    with pytest.raises(ConfigError, match="min_confidence must be a number"):
        ReconstructConfig(min_confidence=float("nan"))


def test_targets_that_cannot_be_written_are_refused_at_once(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder.ply").mkdir()
    with pytest.raises(DataError, match="is a file, and COLMAP needs a folder"):
        check_target(tmp_path / "file")
    with pytest.raises(DataError, match="is a folder, and a file is to be written"):
        check_target(tmp_path / "folder.ply")


def test_other_suffixes_are_refused(scene, tmp_path):
    with pytest.raises(DataError, match=r"Unknown kind of file '\.obj'.*folder for COLMAP"):
        write_scene(scene, tmp_path / "s.obj", {})


def test_points_from_the_cameras_own_place_give_its_image_back(scene):
    camera = scene.cameras[0]
    size = camera.depth.shape
    drawn = render_points(
        camera.points().reshape(-1, 3), camera.colours.reshape(-1, 3), camera.intrinsics, np.eye(4), size
    )
    close = np.abs(drawn[2:-2, 2:-2].astype(int) - camera.colours[2:-2, 2:-2]).mean()
    assert close < 12  # half a pixel off where squares overlap
    assert preview(scene).width > 900


def test_the_preview_shows_originals_not_what_the_encoder_saw(scene):
    rows, columns = scene.cameras[0].depth.shape
    scale = min(360 / rows, 460 / columns)
    size = (round(rows * scale), round(columns * scale), 3)
    pixels = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    cameras = tuple(replace(one, image=replace(one.image, pixels=pixels)) for one in scene.cameras)
    drawn = np.asarray(preview(replace(scene, cameras=cameras, links=())))
    assert (drawn[28 : 28 + size[0]][:, 6 : 6 + size[1]] == pixels).all()


def test_focal_length_comes_from_exif(tmp_path):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = 50  # 35 mm equivalent
    Image.new("RGB", (600, 400)).save(tmp_path / "a.jpg", exif=exif)
    Image.new("RGB", (600, 400)).save(tmp_path / "b.png")
    assert read_image(tmp_path / "a.jpg").focal == pytest.approx(50 * 600 / 36, rel=1e-6)  # 3:2, as film
    assert read_image(tmp_path / "b.png").focal is None
    assert read_image(tmp_path / "a.jpg", focal=123.0).focal == 123.0
    (tmp_path / "c.jpg").write_text("not an image")
    with pytest.raises(DataError, match=r"c\.jpg"):
        read_image(tmp_path / "c.jpg")


def test_an_answer_says_which_images_overlap_with_none(scene):
    links = scene.links
    assert TwoViewAnswer(scene).text().endswith(f"points, {sum(len(link.matches) for link in links)} matches")
    apart = replace(
        scene,
        links=tuple(replace(link, inliers=11 if 2 in (link.first, link.second) else 12) for link in links),
    )
    assert TwoViewAnswer(apart).text().endswith("; no overlap was found between 2.png and the other images")

"""Pictures, JSON, GLB and the camera of a photograph: what is drawn lies where it projects, files read back."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from codistill.bodies.tiny import TinyBody
from codistill.errors import ConfigError
from codistill.files.json_files import write_json
from codistill.geometry.cameras import camera_matrix
from codistill.geometry.projection import project
from codistill.geometry.rotations import rotation_from_6d, rotation_from_vector
from codistill.heads.human_mesh.place import place_bodies
from codistill.tasks.people.draw import draw_bodies, draw_from_above, people_picture
from codistill.tasks.people.export import people_json, write_glb
from codistill.tasks.people.focal import FoundCamera, find_camera
from codistill.tasks.people.model import Bodies
from codistill.tasks.people.task import PeopleOutput

ROWS, COLUMNS = 60, 90
K = camera_matrix(80.0, ((COLUMNS - 1) / 2, (ROWS - 1) / 2))
CAMERA = FoundCamera(K, "given")


def bodies(places: list[tuple[float, float, float]]) -> Bodies:
    body, count = TinyBody(), len(places)
    turns = rotation_from_vector(0.2 * torch.randn(count, 5, 3, generator=torch.Generator().manual_seed(0)))
    rotmat = rotation_from_6d(body.init_6d).expand(count, 5, 3, 3) @ turns
    shape = torch.zeros(count, 2)
    placed = place_bodies(body, rotmat, shape, pelvis=torch.tensor(places).reshape(count, 3))
    pixels = project(placed.joints, K.expand(count, 3, 3))
    return Bodies(
        torch.full((count,), 0.9),
        placed.vertices,
        placed.joints,
        pixels,
        rotmat,
        shape,
        torch.zeros(count, 0),
        placed.head,
        placed.pelvis,
    )


FACES = TinyBody().faces.numpy()


def picture(found: Bodies) -> np.ndarray:
    pytest.importorskip("embreex", reason="needs the extra `world`")
    return draw_bodies(np.zeros((ROWS, COLUMNS, 3), np.uint8), K.numpy(), found.vertices.numpy(), FACES)


def test_bodies_are_drawn_where_they_project() -> None:
    found = bodies([(-0.5, 0.0, 4.0), (0.8, 0.1, 5.0)])
    drawn = picture(found)
    x, y = found.joints_2d[:, 2].round().long().unbind(-1)
    assert (drawn[y, x].max(-1) > 60).all()
    pixels = project(found.vertices, K.expand(2, 3, 3))
    rows, columns = np.nonzero(drawn.any(-1))
    low, high = pixels.amin((0, 1)), pixels.amax((0, 1))
    assert columns.min() == pytest.approx(float(low[0]), abs=1.5) and columns.max() == pytest.approx(
        float(high[0]), abs=1.5
    )
    assert rows.min() == pytest.approx(float(low[1]), abs=1.5)


def test_nobody_somebody_half_outside_behind_and_a_crowd_can_be_drawn() -> None:
    image = np.full((ROWS, COLUMNS, 3), 77, np.uint8)
    assert np.array_equal(draw_bodies(image, K.numpy(), np.zeros((0, 40, 3)), FACES), image)
    assert picture(bodies([(-2.3, 0.0, 4.0)]))[:, :5].any()  # cut by the left border
    assert not picture(bodies([(0.0, 0.0, -4.0)])).any()  # behind the camera
    crowd = picture(bodies([(-4 + 0.35 * i, 0.0, 6 + 0.1 * i) for i in range(25)]))
    assert crowd.any(-1).mean() > 0.1


def test_people_wholly_outside_of_the_image_or_behind_the_camera_are_left_out() -> None:
    """Drawing is the reference: those kept are those of whom a pixel is drawn."""
    places = [(0.0, 0.0, 3.0), (-2.3, 0.0, 4.0), (-4.5, 0.0, 4.0), (0.0, 0.0, -4.0), (0.0, -4.0, 3.0)]
    found = bodies(places)
    kept = found.within(ROWS, COLUMNS, K)
    drawn = [bool(picture(bodies([place])).any()) for place in places]
    assert drawn == [True, True, False, False, False]
    assert torch.equal(kept.pelvis, found.pelvis[drawn]) and len(kept) == 2
    assert len(bodies([]).within(ROWS, COLUMNS, K)) == 0


def test_the_nearer_body_hides_the_farther() -> None:
    both = bodies([(0.0, 0.0, 3.0), (0.0, 0.0, 6.0)])
    two, black = picture(both), np.zeros((ROWS, COLUMNS, 3), np.uint8)
    one = draw_bodies(black, K.numpy(), both.vertices[:1].numpy(), FACES)
    inside = one.any(-1)
    for axis in (0, 1):  # without the border, where both bodies are seen
        inside &= np.roll(inside, 1, axis) & np.roll(inside, -1, axis)
    assert inside.sum() > 5
    same = (one[inside] == two[inside]).all(
        -1
    )  # but for slits between parts, through which the farther one is seen
    assert same.mean() > 0.95 and two.any(-1).sum() > one.any(-1).sum()


def test_large_pictures_are_made_smaller_with_their_camera() -> None:
    pytest.importorskip("embreex", reason="needs the extra `world`")
    found, large = bodies([(0.3, 0.0, 4.0)]), K.clone()
    large[:2] *= 10
    large[:2, 2] += 4.5
    image = np.zeros((ROWS * 10, COLUMNS * 10, 3), np.uint8)
    drawn = draw_bodies(image, large.numpy(), found.vertices.numpy(), FACES, largest=COLUMNS)
    assert drawn.shape == (ROWS, COLUMNS, 3)
    difference = np.abs(drawn.astype(int) - picture(found).astype(int))
    assert difference.max() <= 1


def test_from_above_people_stand_where_they_are() -> None:
    pytest.importorskip("embreex", reason="needs the extra `world`")
    found = bodies([(-1.0, 0.0, 2.0), (1.0, 0.0, 6.0)])
    empty = draw_from_above(K.numpy(), COLUMNS, np.zeros((0, 40, 3)), FACES, side=200)
    assert empty.shape == (200, 200, 3)
    drawn = draw_from_above(K.numpy(), COLUMNS, found.vertices.numpy(), FACES, side=200)
    one = draw_from_above(K.numpy(), COLUMNS, found.vertices[1:].numpy(), FACES, side=200)
    colourful = np.ptp(drawn.astype(int), axis=-1) > 60
    rows, columns = np.nonzero(colourful & (np.arange(200)[:, None] < 180))
    left = columns < 100
    assert left.any() and (~left).any()
    assert rows[left].mean() > rows[~left].mean() + 50  # the nearer one is lower
    assert one.shape == drawn.shape


def test_small_pictures_are_made_larger_before_bodies_are_drawn() -> None:
    """Bodies are drawn at the larger size: their outline has no steps of the small picture's pixels."""
    pytest.importorskip("embreex", reason="needs the extra `world`")
    found = bodies([(0.3, 0.0, 4.0)])
    image = np.zeros((ROWS, COLUMNS, 3), np.uint8)
    drawn = draw_bodies(image, K.numpy(), found.vertices.numpy(), FACES, smallest=COLUMNS * 8)
    assert drawn.shape == (ROWS * 8, COLUMNS * 8, 3)
    averaged = drawn.reshape(ROWS, 8, COLUMNS, 8, 3).mean((1, 3))
    assert np.abs(averaged - picture(found)).mean() < 0.5  # the same place, to a fraction of a pixel
    assert (np.ptp(drawn.reshape(ROWS, 8, COLUMNS, 8, 3), axis=(1, 3)) > 50).any()


@pytest.mark.parametrize(("rows", "columns"), [(112, 112), (60, 90), (20, 300), (300, 20), (3000, 4000)])
def test_a_picture_shows_image_and_people_from_above_at_a_readable_size(rows: int, columns: int) -> None:
    image = np.full((rows, columns, 3), 90, np.uint8)
    shown = people_picture(image, K.numpy(), np.zeros((0, 40, 3)), FACES)
    longer = max(640, min(max(rows, columns), 1280))
    factor = longer / max(rows, columns)
    height, width = round(rows * factor), round(columns * factor)
    assert (shown[:height, :width] == 90).all() and shown.shape[0] >= height and shown.shape[1] >= width
    rest = shown[height:] if width > 2 * height else shown[:, width:]
    assert min(rest.shape[:2]) >= 480 and (rest == 250).all(-1).any()
    assert max(shown.shape) <= 1280 + 8 + 720


def test_people_whose_numbers_are_no_numbers_are_left_out_of_pictures() -> None:
    broken = np.full((1, 40, 3), np.nan, np.float32)
    image = np.full((ROWS, COLUMNS, 3), 77, np.uint8)
    nobody = people_picture(image, K.numpy(), broken[:0], FACES)
    assert np.array_equal(people_picture(image, K.numpy(), broken, FACES), nobody)


def test_json_says_enough_to_pose_the_bodies_again(tmp_path: Path) -> None:
    found, body = bodies([(-0.5, 0.0, 4.0), (0.8, 0.1, 5.0)]), TinyBody()
    path = tmp_path / "a.json"
    write_json(path, people_json("a.jpg", (ROWS, COLUMNS), CAMERA, body, found))
    said = json.loads(path.read_text())
    assert (said["rows"], said["columns"]) == (ROWS, COLUMNS) and said["camera"]["focal_from"] == "given"
    for index, person in enumerate(said["people"]):
        vectors = torch.tensor([person["rotation_vectors"][name] for name in body.rotation_names])
        rotmat, shape = rotation_from_vector(vectors)[None], torch.tensor([person["shape"]])
        placed = place_bodies(body, rotmat, shape, head=torch.tensor([person["head"]]))
        torch.testing.assert_close(placed.vertices[0], found.vertices[index], atol=1e-3, rtol=0)
        written = torch.tensor([person["joints"][name]["xy"] for name in body.joint_names])
        torch.testing.assert_close(written, found.joints_2d[index], atol=0.01, rtol=0)


@pytest.mark.parametrize("places", [[], [(-0.5, 0.0, 4.0), (0.8, 0.1, 5.0)]])
def test_glb_holds_bodies_and_camera(tmp_path: Path, places: list[tuple[float, float, float]]) -> None:
    trimesh = pytest.importorskip("trimesh")
    found = bodies(places)
    write_glb(tmp_path / "a.glb", found.vertices.numpy(), FACES, CAMERA, (ROWS, COLUMNS))
    scene = trimesh.load(tmp_path / "a.glb", process=False)
    assert len(scene.geometry) == len(places)
    assert math.radians(scene.camera.fov[1]) == pytest.approx(2 * math.atan(ROWS / 2 / 80), rel=1e-3)
    for number in range(len(places)):
        vertices = torch.from_numpy(np.array(scene.geometry[f"person_{number}"].vertices)).float()
        expected = found.vertices[number] * torch.tensor([1.0, -1.0, -1.0])
        torch.testing.assert_close(vertices, expected, atol=1e-5, rtol=0)


def test_the_camera_of_a_photograph(tmp_path: Path) -> None:
    plain, told = tmp_path / "plain.jpg", tmp_path / "told.jpg"
    image = Image.new("RGB", (1200, 800))
    image.save(plain)
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = 50  # a 50 mm lens on 35 mm film
    image.save(told, exif=exif)
    assumed = find_camera(plain, 800, 1200)
    assert assumed.source == "assumed"
    assert assumed.intrinsics[0, 0] == pytest.approx(600 / math.tan(math.radians(30)), rel=1e-5)
    assert assumed.intrinsics[:2, 2].tolist() == [599.5, 399.5]
    found = find_camera(told, 800, 1200)
    assert found.source == "exif" and found.intrinsics[0, 0] == pytest.approx(50 * 1200 / 36, rel=1e-4)
    assert find_camera(told, 800, 1200, focal=700.0).intrinsics[1, 1] == 700.0
    assert find_camera(told, 1200, 800, field_of_view=90.0).intrinsics[0, 0] == pytest.approx(600.0)
    with pytest.raises(ConfigError, match="not both"):
        PeopleOutput(focal=1.0, fov=1.0)
    with pytest.raises(ConfigError, match="between 0 and 180 degrees; got 180"):
        PeopleOutput(fov=180.0)
    with pytest.raises(ConfigError, match="positive number of pixels; got -1"):
        PeopleOutput(focal=-1.0)

"""Labelled images: batches of unlike labels, squares and mirrors, the folder layout and what users write wrongly."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from people_scenes import ROWS, camera, open_people, write_folder

from codistill.bodies.tiny import TinyBody
from codistill.errors import ConfigError, DataError
from codistill.geometry.projection import project
from codistill.heads.human_mesh.place import place_bodies
from codistill.tasks.people.data import check_people
from codistill.tasks.people.sample import PeopleImage, Skeleton, join_truths, make_truth, nobody
from codistill.tasks.people.views import Placement, mirrored_pixels, square_view
from codistill.tasks.shared.data import limited
from codistill.tasks.shared.inputs import inputs_of

SKELETON = Skeleton.of(TinyBody())


def test_people_of_several_images_keep_their_image_and_say_who_has_parameters() -> None:
    posed = make_truth(SKELETON, torch.rand(2, 5, 3), rotmat=torch.rand(2, 5, 3, 3), shape=torch.ones(2, 2))
    joints_only = make_truth(
        SKELETON, torch.rand(1, 5, 3), joint_known=torch.tensor([[True, False, True, True, False]])
    )
    joined = join_truths([posed, nobody(SKELETON), joints_only])
    assert joined.image.tolist() == [0, 0, 2]
    assert joined.posed is not None and joined.posed.tolist() == [True, True, False]
    assert joined.rotmat is not None and torch.equal(joined.rotmat[2], torch.eye(3).expand(5, 3, 3))
    assert joined.joint_known is not None and joined.joint_known.sum(1).tolist() == [5, 5, 3]
    assert join_truths([posed, nobody(SKELETON)]).posed is None  # everybody who is there has parameters
    assert len(join_truths([nobody(SKELETON, posed=False)] * 2)) == 0


def test_people_of_two_body_models_do_not_mix() -> None:
    one = make_truth(SKELETON, torch.rand(1, 5, 3))
    other = make_truth(Skeleton((), ("a", "b"), 1, 0, 0, (0, 1)), torch.rand(1, 2, 3))
    with pytest.raises(ConfigError, match=r"one body model; got joints of \[2, 5\]"):
        join_truths([one, other])


@pytest.mark.parametrize("shape", [(40, 100), (100, 40), (3, 64), (64, 64)])
def test_a_square_shows_the_whole_image_and_its_camera_fits(shape: tuple[int, int]) -> None:
    placement = Placement.of(*shape, 56)
    original = torch.tensor([[70.0, 0.0, shape[1] / 2 - 3], [0.0, 65.0, shape[0] / 2], [0.0, 0.0, 1.0]])
    points = torch.randn(20, 3) + torch.tensor([0.0, 0.0, 4.0])
    before, after = project(points, original), project(points, placement.intrinsics(original))
    torch.testing.assert_close(placement.to_original(after), before, atol=1e-3, rtol=1e-4)
    corners = torch.tensor([[-0.5, -0.5], [shape[1] - 0.5, shape[0] - 0.5]])
    inside = (
        (corners + 0.5) * torch.tensor(placement.scale)
        - 0.5
        + torch.tensor([float(placement.left), float(placement.top)])
    )
    assert (inside >= -0.51).all() and (inside <= 55.51).all()


def test_the_mirror_image_shows_the_mirrored_people(scenes: Path) -> None:
    """The blob at a joint is where the joint's label says, in the view and in its mirror image."""
    sample = open_people(f"folder:{scenes}", "train").samples[0]
    pixels, labels = square_view(sample, 56)
    flipped, other = mirrored_pixels(pixels), labels.mirrored(SKELETON)
    for image, view in ((pixels, labels), (flipped, other)):
        x, y = (
            project(view.truth.head, view.intrinsics.expand(len(view.truth), 3, 3))[0].round().long().tolist()
        )
        red, green, blue = image[y, x].tolist()
        assert red > 150 and green < 140 and blue < 140  # the head is red
    assert np.array_equal(mirrored_pixels(flipped), pixels)
    back = other.mirrored(SKELETON)
    torch.testing.assert_close(back.truth.joints, labels.truth.joints)
    assert back.truth.rotmat is not None and labels.truth.rotmat is not None
    torch.testing.assert_close(back.truth.rotmat, labels.truth.rotmat)


def test_a_folder_gives_bodies_where_they_were_put(scenes: Path) -> None:
    data = open_people(f"folder:{scenes}", "val")
    sample = data.samples[1]
    torch.testing.assert_close(sample.intrinsics, camera())
    assert sample.image.shape == (ROWS, 56, 3) and len(sample.truth) == 2
    assert sample.truth.image.tolist() == [0, 0] and sample.facts["visible"].tolist() == pytest.approx(
        [0.5, 0.95]
    )
    assert sample.truth.rotmat is not None and sample.truth.shape is not None
    placed = place_bodies(data.body, sample.truth.rotmat, sample.truth.shape, pelvis=sample.truth.pelvis)
    torch.testing.assert_close(placed.joints, sample.truth.joints, atol=1e-4, rtol=1e-4)
    written = json.loads((scenes / "val.jsonl").read_text().splitlines()[1])["people"]
    torch.testing.assert_close(sample.truth.pelvis, torch.tensor([p["pelvis"] for p in written]))


def test_joints_alone_are_labels_too(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "f", train=1, val=1)
    entry = json.loads((root / "train.jsonl").read_text())
    entry["people"] = [{"joints": {"pelvis": [0, 0.5, 4], "head": [0, 0, 4], "arm": [0.3, 0.1, 4]}}]
    entry["intrinsics"] = [[50, 0, 20], [0, 50, 20], [0, 0, 1]]
    (root / "train.jsonl").write_text(json.dumps(entry))
    truth = open_people(f"folder:{root}", "train").samples[0].truth
    assert truth.rotmat is None and truth.joint_known is not None
    assert truth.joint_known.tolist() == [[True, False, True, True, False]]
    assert truth.head.tolist() == [[0, 0, 4]] and truth.pelvis.tolist() == [[0, 0.5, 4]]


POINTS = {"joints": {"pelvis": [0, 0, 4], "head": [0, 0, 4]}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"people": [{"joints": {"head": [0, 0, 4]}}]}, "'head' and 'pelvis' at least"),
        (
            {"people": [{"joints": {"pelvis": [0, 0, 4], "head": [0, 0, 4], "hed": [0, 0, 1]}}]},
            "Did you mean 'head'",
        ),
        ({"people": [{"rotation_vectors": [[0, 0, 0]]}]}, 'line 1, person 1: "rotation_vectors" must be 5x3'),
        ({"people": 3}, "must be a list"),
        ({"people": None}, r"must be a list; an image without anybody has \[\]"),
        (
            {"people": [POINTS | {"shape": [0, 0]}]},
            'person 1: has both "joints" and parameters',
        ),
        ({"people": [POINTS | {"visible": 95}]}, '"visible" must be a number from 0 to 1; got 95'),
        ({"intrinsics": [[0, 0, 20], [0, 50, 20], [0, 0, 1]]}, "line 1: a focal length of 0 does not belong"),
        ({"focal": 1.2}, "line 1: a focal length of 1.2 does not belong to an image of 42x56 pixels"),
        ({"intrinsics": [[50, 0, 0], [0, 50, 0], [20, 20, 1]]}, r"must be \[\[fx, 0, cx\]"),
        ({"focal": -1}, '"focal" in pixels, a positive number'),
        ({"image": "images/none.png"}, "no such file"),
        ({"image": 3}, "must be the path of a file"),
    ],
)
def test_what_is_wrong_in_a_line_is_named(tmp_path: Path, change: dict, message: str) -> None:
    root = write_folder(tmp_path / "f", train=1, val=1)
    entry = json.loads((root / "train.jsonl").read_text())
    (root / "train.jsonl").write_text(json.dumps(entry | change))
    with pytest.raises(DataError, match=message):
        open_people(f"folder:{root}", "train").samples[0]


def test_what_only_some_people_state_is_unknown_of_the_others(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "f", train=1, val=1)
    entry = json.loads((root / "train.jsonl").read_text())
    entry["people"] = [POINTS | {"age": 0.5}, POINTS, POINTS | {"age": None}]
    (root / "train.jsonl").write_text(json.dumps(entry))
    facts = open_people(f"folder:{root}", "train").samples[0].facts
    assert list(facts) == ["age"]
    torch.testing.assert_close(facts["age"], torch.tensor([0.5, np.nan, np.nan]), equal_nan=True)


def test_an_image_with_two_lines_is_refused(tmp_path: Path) -> None:
    """People of the other line would count as false detections."""
    root = write_folder(tmp_path / "f", train=2, val=1)
    lines = (root / "train.jsonl").read_text().splitlines()
    (root / "train.jsonl").write_text("\n".join([*lines, lines[0].replace("images/", "./images/")]))
    with pytest.raises(DataError, match=r"train\.jsonl, lines 1 and 3: both are of \./images/0000\.png"):
        open_people(f"folder:{root}", "train")


def test_folders_that_are_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"people\.json: no such file\. Expected layout"):
        open_people(f"folder:{tmp_path}", "train")
    with pytest.raises(ConfigError, match="Did you mean 'bedlam'"):
        open_people(f"bedlan:{tmp_path}", "train")
    root = write_folder(tmp_path / "f", train=2, val=1)
    (root / "images" / "0001.png").unlink()
    data = open_people(f"folder:{root}", "train", partial=True)
    assert len(data.samples) == 1 and data.notes == ("1 of 2 images are missing, and are left out",)
    for count in ('"ten"', "null", "0", "2.5"):
        (root / "people.json").write_text(f'{{"body": "smplx", "n_shape": {count}}}')
        with pytest.raises(DataError, match=r'"n_shape" must be a whole number of 1 to 300; got'):
            open_people(f"folder:{root}", "train")
    (root / "people.json").write_text('{"body": "any"}')
    with pytest.raises(ConfigError, match="Did you mean 'anny'"):
        open_people(f"folder:{root}", "train")


def test_data_without_anybody_is_refused(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "f", train=2, val=1)
    lines = [json.loads(line) | {"people": []} for line in (root / "train.jsonl").read_text().splitlines()]
    (root / "train.jsonl").write_text("\n".join(map(json.dumps, lines)))
    data = open_people(f"folder:{root}", "train")
    with pytest.raises(DataError, match=r"\(train\): nobody is labelled"):
        check_people(data)
    assert [data.samples[0].name, len(data.samples[0].truth)] == ["images/0000.png", 0]
    with pytest.raises(DataError, match="there are no images"):
        check_people(replace(data, samples=[]))


def test_labels_are_among_what_images_are_made_from(tmp_path: Path) -> None:
    """A subset says the same of an image as the whole; a line that is put before others changes none of them."""
    root = write_folder(tmp_path / "f", train=4, val=1)
    data = open_people(f"folder:{root}", "train").samples
    rows = inputs_of(data).rows
    assert inputs_of(limited(data, 2)).rows == (rows[1], rows[3])
    lines = (root / "train.jsonl").read_text().splitlines()
    changed = [lines[3], lines[0].replace('"people"', '"people" '), *lines[1:3]]
    (root / "train.jsonl").write_text("\n".join(changed))
    now = inputs_of(open_people(f"folder:{root}", "train").samples).rows
    assert (now[0], *now[2:]) == (rows[3], rows[1], rows[2])
    assert now[1][0] == rows[0][0] and now[1][1] != rows[0][1]  # the picture is the same, its label another


def test_the_worlds_labels_pose_its_joints(tiny_people_world: Path) -> None:
    """Phenotypes, rotations and translations through Anny are the joints that the renderer wrote down."""
    data = open_people(f"world:{tiny_people_world}", "test")
    assert data.size == 112
    people = 0
    for index in range(len(data.samples)):
        sample: PeopleImage = data.samples[index]
        truth = sample.truth
        if not len(truth):
            continue
        assert truth.rotmat is not None and truth.shape is not None
        placed = place_bodies(data.body, truth.rotmat, truth.shape, pelvis=truth.pelvis)
        assert (placed.joints - truth.joints).norm(dim=-1).max() < 2e-3
        assert set(sample.facts) == {"visible", "age"} and (sample.facts["visible"] >= 0.05).all()
        people += len(truth)
    assert people > 0

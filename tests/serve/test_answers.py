"""A scene's packet against the scene itself."""

from types import SimpleNamespace

import numpy as np
import pytest
from toy_perception import NAMES, PALETTE, ToyPerception

from codistill.serve.answers import Asked, kind_of, places, scene_packet, similar_packet
from codistill.serve.packets import decode_packet

RNG = np.random.default_rng(0)
IMAGES = [
    RNG.integers(1, 255, size=(70, 98, 3), dtype=np.uint8),
    RNG.integers(1, 255, size=(56, 84, 3), dtype=np.uint8),
]
KINDS = {name: kind_of(task) for name, task in ToyPerception.tasks.items()}


@pytest.fixture(scope="module")
def packet() -> tuple[dict, dict]:
    scene = ToyPerception()(IMAGES, want=tuple(KINDS))
    asked = Asked(kinds=KINDS, points=500, map_edge=64, faces=True)
    return decode_packet(scene_packet(scene, asked, {"id": 1}).encode())


def test_maps_are_every_nth_pixel(packet: tuple[dict, dict]) -> None:
    header, arrays = packet
    rows, columns = places((70, 98), 64)
    assert (len(rows), len(columns)) == (46, 64)
    sent = arrays["segmentation/0"]
    np.testing.assert_array_equal(sent, IMAGES[0].argmax(axis=2)[rows][:, columns])
    about = header["images"][0]["answers"]["depth"]
    red = IMAGES[0][rows][:, columns][..., 0].astype(np.float64)
    metres = arrays["depth/0"] * about["step"]
    assert metres[0, 0] == 0  # unknown
    np.testing.assert_allclose(metres[1:], (1 + red / 32)[1:], atol=about["step"])
    np.testing.assert_array_equal(arrays["normals/1"][..., 2], -127)
    np.testing.assert_array_equal(arrays["edges/0"], 255 - IMAGES[0][rows][:, columns])


def test_unknown_depth_is_zero() -> None:
    scene = ToyPerception()([IMAGES[0]], want=("depth",))
    asked = Asked(kinds={"depth": "depth"}, points=0, map_edge=1024, faces=False)
    header, arrays = decode_packet(scene_packet(scene, asked, {}).encode())
    assert arrays["depth/0"][0, 0] == 0
    assert (arrays["depth/0"].ravel()[1:] > 0).all()
    assert "cloud" not in header["images"][0]


def test_of_two_depth_heads_the_wanted_one_gives_the_points() -> None:
    scene = ToyPerception()([IMAGES[0]], want=("far",))
    scene._far = lambda i: SimpleNamespace(metres=scene._depth(i).metres + 50)
    asked = Asked(kinds={"far": "depth"}, points=500, map_edge=64, faces=False)
    cloud = decode_packet(scene_packet(scene, asked, {}).encode())[0]["images"][0]["cloud"]
    assert cloud["low"][2] > 50


def test_unknown_normals_are_zero_and_the_others_are_as_they_were() -> None:
    scene = ToyPerception()([IMAGES[0]], want=("normals",))
    normals = RNG.normal(size=(70, 98, 3)).astype(np.float32)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    normals[3, 4], normals[5, 6, 1] = np.nan, np.inf
    scene._normals = lambda i: SimpleNamespace(normals=normals)
    asked = Asked(kinds={"normals": "normals"}, points=0, map_edge=1024, faces=False)
    sent = decode_packet(scene_packet(scene, asked, {}).encode())[1]["normals/0"]
    assert not sent[3, 4].any() and sent[5, 6, 1] == 0
    known = np.isfinite(normals)
    np.testing.assert_allclose(sent[known], 127 * normals[known], atol=0.5001)


def test_the_legend_has_the_classes_that_are_there(packet: tuple[dict, dict]) -> None:
    classes = packet[0]["images"][0]["answers"]["segmentation"]["classes"]
    assert sum(one["share"] for one in classes) == pytest.approx(1, abs=1e-4)
    assert classes[0]["share"] == max(one["share"] for one in classes)
    assert all(one["name"] == NAMES[one["number"]] for one in classes)
    assert all(one["colour"] == PALETTE[one["number"]].tolist() for one in classes)


def test_clouds_bodies_and_matches(packet: tuple[dict, dict]) -> None:
    header, arrays = packet
    assert len(arrays["points/0"]) == len(arrays["colours/0"]) <= 500
    body = header["images"][0]["answers"]["people"]["people"][0]["body"]
    corners = np.asarray(body["low"]) + arrays["body/0/0"] * np.asarray(body["step"])
    np.testing.assert_allclose(corners[1], [0.3, -0.9, 3.0], atol=1e-4)
    assert arrays["faces"].shape == (4, 3)
    assert header["two_view"]["pairs"] == [{"first": 0, "second": 1, "matches": 2}]
    np.testing.assert_array_equal(arrays["matches/0/1"][0], [5, 6, 7, 8])
    assert header["two_view"]["cameras"][1][0][3] == 0.5
    assert header["images"][1]["answers"]["scenes"]["top"][0] == {"name": "room", "score": 0.75}


def test_faces_travel_once() -> None:
    scene = ToyPerception()([IMAGES[0]], want=("people",))
    asked = Asked(kinds={"people": "people"}, points=0, map_edge=64, faces=False)
    assert "faces" not in decode_packet(scene_packet(scene, asked, {}).encode())[1]


def test_cosines_are_bytes() -> None:
    packet = similar_packet([np.array([[-1.0, 0.0, 1.0, np.nan]])], {"id": 4})
    np.testing.assert_array_equal(decode_packet(packet.encode())[1]["similar/0"], [[0, 128, 255, 0]])

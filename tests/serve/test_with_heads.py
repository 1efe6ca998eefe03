"""The server with a perception of real heads (random weights): answers on the wire are the scene's own."""

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from live_server import LiveServer

sys.path.insert(0, str(Path(__file__).parents[1] / "perception"))

from toy_heads import CLASSES, ENCODER, dense_heads

from codistill import Perception
from codistill.imaging import decode_rgb
from codistill.serve.run import warm_up
from codistill.serve.settings import ServeSettings

WANT = ["segmentation", "depth", "normals"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    perception = Perception(ENCODER, dense_heads(tmp_path_factory.mktemp("heads")), device="cpu", size=112)
    with LiveServer(perception, ServeSettings(port=0)) as one:
        yield one


def test_answers_are_the_scenes_own(server: LiveServer, photo: bytes) -> None:
    scene = server.perception(decode_rgb(photo), want=WANT)
    with server.tab() as tab:
        assert [head["name"] for head in tab.hello["perception"]["heads"]] == WANT
        tab.see(1, [photo], want=WANT, points=2000)
        header, arrays = tab.receive()
        np.testing.assert_array_equal(arrays["segmentation/0"], scene.segmentation[0].classes)
        answers = header["images"][0]["answers"]
        assert {one["name"] for one in answers["segmentation"]["classes"]} <= set(CLASSES)
        step = answers["depth"]["step"]
        np.testing.assert_allclose(arrays["depth/0"] * step, scene.depth[0], atol=step)
        np.testing.assert_allclose(arrays["normals/0"] / 127, scene.normals[0], atol=0.005)
        np.testing.assert_array_equal(arrays["features/0"], scene.pca[0])
        points, _ = scene.point_cloud(0, limit=2000)
        assert 0 < len(arrays["points/0"]) == len(arrays["colours/0"]) <= len(points)
        tab.send({"type": "similar", "id": 2, "image": 0, "row": 1, "column": 2})
        cosines = scene.similar(0, 1, 2)[0]
        sent = tab.receive()[1]["similar/0"] / 127.5 - 1
        np.testing.assert_allclose(sent, cosines, atol=0.005)
        tab.see(3, [photo], want=[], steady=True)
        np.testing.assert_array_equal(tab.receive()[1]["features/0"], scene.pca[0])
        tab.send({"type": "describe", "id": 4})
        assert tab.receive()[0]["scene"]["images"][0]["name"] == "0.jpg"


def test_rest_gives_the_scenes_arrays(server: LiveServer, photo: bytes) -> None:
    scene = server.perception(decode_rgb(photo), want=WANT)
    files = {"images": ("a.jpg", photo)}
    arrays = np.load(io.BytesIO(httpx.post(f"{server.url}/v1/see?as=npz", files=files, timeout=30).content))
    for name, values in scene.arrays().items():
        np.testing.assert_array_equal(arrays[name], values)
    found = np.load(io.BytesIO(httpx.post(f"{server.url}/v1/features", files=files, timeout=30).content))
    np.testing.assert_array_equal(found["patches_0"], scene.tokens[0].patches[0].numpy())


def test_warming_up_looks_at_samples(server: LiveServer) -> None:
    assert set(warm_up(server.app)) >= {"decode", "encode", "pack", *WANT}

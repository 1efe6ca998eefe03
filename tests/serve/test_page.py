"""The page in a real browser, headless: everything that a visitor does, without an error or a request to elsewhere."""

import io
import json
import struct
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Page, browser_page, chromium_running
from live_server import LiveServer
from PIL import Image
from toy_perception import ToyPerception

from codistill.serve.samples import Samples
from codistill.serve.settings import ServeSettings


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    with LiveServer(ToyPerception(), ServeSettings(port=0, idle_seconds=600)) as one:
        yield one


def baseline(data: bytes) -> bytes:
    """A picture as the fake webcam takes it: 320 pixels, not progressive."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(data)).resize((320, 320)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A browser whose webcam shows the samples."""
    samples = Samples()
    clip = tmp_path_factory.mktemp("clip") / "clip.mjpeg"
    clip.write_bytes(b"".join(baseline(samples.data(entry.pictures[0])) for entry in samples.entries) * 2)
    webcam = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
    with chromium_running(*webcam, f"--use-file-for-fake-video-capture={clip}") as one:
        yield one


@pytest.fixture(scope="module")
def page(browser: Any, server: LiveServer) -> Iterator[Page]:
    """One window for the tests that need no other; each starts from the first sample."""
    with browser_page(browser, server.url) as one:
        yield one


def distinct(pixels: np.ndarray) -> int:
    """Number of different colours."""
    return len(np.unique(pixels.reshape(-1, 3), axis=0))


def test_the_page_shows_every_answer_of_a_sample(page: Page) -> None:
    page.open()
    assert page.text("#status-text") == "ready"
    shown = {}
    for name in ("picture", "features", "segmentation", "depth", "normals", "edges"):
        page.page.click(f"[data-answer={name}] .pick")
        shown[name] = page.canvas("#panel-0 canvas")
    for name, pixels in shown.items():
        others = [other for key, other in shown.items() if key != name]
        assert all((pixels != other).any() for other in others), name
    assert "floor" not in page.text("#legend")
    page.page.click("[data-answer=segmentation] .pick")
    assert "floor" in page.text("#legend")
    box = page.page.locator("#panel-0 canvas").bounding_box()
    page.page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.5)
    readout = page.text("#panel-0 .readout")
    assert any(name in readout for name in ("floor", "wall", "chair")) and " m" in readout, readout
    assert "faces you" in readout
    assert distinct(page.colours("#space canvas")) > 100
    assert "formulas" in page.text("#facts") and "Apache-2.0" in page.text("#facts")
    assert "encoder's time × 7" in page.text("#chart")
    assert not page.problems


def test_discs_of_points_have_a_largest_size(page: Page) -> None:
    page.open()
    measure = """async side => {
        const { spacing } = await import("/static/viewer.js"), positions = [];
        const at = (i) => i / side - 0.5;
        for (let i = 0; i < side ** 2; i++) positions.push(at(i % side), at(Math.floor(i / side)), -1);
        return spacing({ positions, centre: [0, 0, 0] });
    }"""
    few, many = (page.page.evaluate(measure, side) for side in (30, 300))
    assert (
        few == 0.015 and 1 / 300 < many < 2 / 300
    )  # as large as the gaps between points, unless these are wide


@pytest.mark.slow
def test_pictures_and_clicks(page: Page, photo: bytes, tmp_path: Path) -> None:
    page.open()
    looks = page.looks()
    page.page.set_input_files("#file", [{"name": "mine.jpg", "mimeType": "image/jpeg", "buffer": photo}])
    page.wait_for_looks(looks + 1)
    assert page.text("#panel-0 .name") == "mine.jpg"
    assert page.text("[data-answer=picture] small") == "112 × 84"
    before = page.canvas("#panel-0 canvas")
    page.page.click("#panel-0 canvas")
    page.wait(lambda: "patches like" in page.text("#legend"), "similar patches")
    assert (page.canvas("#panel-0 canvas") != before).any()
    page.page.click("#panel-0 canvas")
    page.wait(lambda: "patches like" not in page.text("#legend"), "the way back")
    page.page.set_input_files("#file", [{"name": "bad.jpg", "mimeType": "image/jpeg", "buffer": b"text"}])
    page.wait(lambda: page.page.is_visible("#notice"), "a notice")
    assert "bad.jpg: this browser cannot read it" in page.text("#notice")
    assert not page.problems


@pytest.mark.slow
def test_dropped_files(page: Page, photo: bytes) -> None:
    page.open()
    looks = page.looks()
    drop = """bytes => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], "dropped.jpg", {type: "image/jpeg"}));
        window.dispatchEvent(new DragEvent("dragenter", {dataTransfer: data, bubbles: true}));
        window.dispatchEvent(new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true}));
    }"""
    page.page.evaluate(drop, list(photo))
    page.wait_for_looks(looks + 1)
    assert page.text("#panel-0 .name") == "dropped.jpg"


@pytest.mark.slow
def test_heads_are_switched_off_and_on(server: LiveServer, page: Page) -> None:
    page.open()
    looks = page.looks()
    page.page.click("[data-answer=depth] .switch input")
    page.wait_for_looks(looks + 1)
    assert page.text("[data-answer=depth] small") == "off"
    assert "Depth" not in page.text("#chart")
    page.page.click("[data-answer=depth] .switch input")
    page.wait_for_looks(looks + 2)
    assert "ms" in page.text("[data-answer=depth] small")
    assert not page.problems


@pytest.mark.slow
def test_two_views_turn_under_the_mouse_and_are_saved(page: Page, tmp_path: Path) -> None:
    page.open()  # the first sample is a pair
    assert page.page.is_visible("#panel-1")
    page.page.click("[data-answer=pair] .pick")
    assert "2 matches" in page.text("#legend")
    before = page.colours("#space canvas")
    assert distinct(before) > 100
    box = page.page.locator("#space canvas").bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.page.mouse.move(*middle)
    page.page.mouse.down()
    page.page.mouse.move(middle[0] + 120, middle[1] + 20, steps=4)
    page.page.mouse.up()
    time.sleep(0.3)
    turned = page.colours("#space canvas")
    assert (turned != before).any(axis=2).mean() > 0.1
    with page.page.expect_download() as saved:
        page.page.click("#save-glb")
    path = tmp_path / "scene.glb"
    saved.value.save_as(path)
    check_glb(path.read_bytes())
    with page.page.expect_download() as saved:
        page.page.click("#save-json")
    assert saved.value.suggested_filename == "codistill-room-1.json"
    with page.page.expect_download() as saved:
        page.page.click("#save-png")
    saved.value.save_as(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    page.page.click("#drop-b")
    page.wait(lambda: not page.page.is_visible("#panel-1"), "one picture")
    assert not page.problems


def check_glb(data: bytes) -> None:
    """Headers, lengths and accessors of a binary glTF; trimesh reads it too where it is installed."""
    magic, version, length, json_length, kind = struct.unpack("<4sIIII", data[:20])
    assert (magic, version, length, kind) == (b"glTF", 2, len(data), 0x4E4F534A)
    gltf = json.loads(data[20 : 20 + json_length])
    names = [mesh["name"] for mesh in gltf["meshes"]]
    assert {"points 1", "points 2", "body 1", "camera 1", "camera 2"} <= set(names)
    end = max(view["byteOffset"] + view["byteLength"] for view in gltf["bufferViews"])
    assert end <= gltf["buffers"][0]["byteLength"] == length - json_length - 28
    trimesh = pytest.importorskip("trimesh")
    scene = trimesh.load(io.BytesIO(data), file_type="glb", force="scene")
    assert len(scene.geometry) >= 3


@pytest.mark.slow
def test_the_webcam_streams_and_the_newest_frame_wins(browser: Any, server: LiveServer) -> None:
    with browser_page(browser, server.url, permissions=["camera"]) as page:
        page.open()
        replaced = server.count("frames_replaced_total")
        looks = page.looks()
        page.page.click("#webcam")
        page.wait_for_looks(looks + 5)
        page.wait(lambda: page.text("#status-text") == "live", "the stream")
        assert page.text("#panel-0 .name") == "webcam"
        assert "a second" in page.text("#chart")
        first = page.canvas("#panel-0 canvas")
        page.wait(lambda: (page.canvas("#panel-0 canvas") != first).any(), "another frame")
        assert server.count("frames_replaced_total") == replaced  # one look at a time: none is ever too many
        page.page.click("#stop")
        page.wait(lambda: page.text("#status-text") == "ready", "the end of the stream")
        looks = page.looks()
        time.sleep(0.5)
        assert page.looks() <= looks + 1
        assert not page.problems


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Four seconds: blue on the left, and on the right a grey that rises from frame to frame."""
    pytest.importorskip("av", reason="needs the extra `video`")
    from codistill.perception.video import VideoWriter

    path = tmp_path / "clip.mp4"
    with VideoWriter(path, Fraction(10)) as writer:
        for number in range(40):
            frame = np.zeros((96, 128, 3), np.uint8)
            frame[:, :64] = (20, 20, 220)
            frame[:, 64:] = 20 + 5 * number
            writer.add(frame)
    return path


@pytest.mark.slow
def test_a_video_file_streams_until_it_is_stopped(page: Page, clip: Path, tmp_path: Path) -> None:
    page.open()
    page.page.click("[data-answer=picture] .pick")
    looks = page.looks()
    page.page.set_input_files("#video-file", str(clip))
    page.wait_for_looks(looks + 5)
    page.wait(lambda: page.text("#status-text") == "live", "the stream")
    assert page.text("#panel-0 .name") == "clip.mp4"
    assert page.text("[data-answer=picture] small") == "128 × 96"
    assert "a second" in page.text("#chart")
    first = page.canvas("#panel-0 canvas")
    rows, columns = first.shape[:2]
    red, green, blue = first[rows // 2, columns // 4].astype(int)
    assert blue > max(red, green) + 80  # the clip's own left half
    page.wait(lambda: (page.canvas("#panel-0 canvas") != first).any(), "another frame")
    page.page.click("#stop")
    page.wait(lambda: page.text("#status-text") == "ready", "the end of the stream")
    assert not page.problems
    (tmp_path / "broken.mp4").write_bytes(clip.read_bytes()[:500])
    page.page.set_input_files("#video-file", str(tmp_path / "broken.mp4"))
    page.wait(lambda: page.page.is_visible("#notice"), "a notice")
    assert "broken.mp4: this browser cannot play it" in page.text("#notice")


@pytest.mark.slow
def test_the_page_comes_back_after_the_server(browser: Any) -> None:
    first = LiveServer(ToyPerception(), ServeSettings(port=0))
    first.__enter__()
    with browser_page(browser, first.url) as page:
        page.open()
        looks = page.looks()
        first.__exit__(None, None, None)
        page.wait(lambda: "reconnecting" in page.text("#status-text"), "the loss")
        with LiveServer(ToyPerception(), ServeSettings(port=first.port)):
            page.wait_for_looks(looks + 1)
            assert page.text("#status-text") == "ready"
            assert all("WebSocket connection" in problem for problem in page.problems)


@pytest.mark.slow
def test_the_3d_view_begins_with_most_of_what_two_cameras_see(page: Page) -> None:
    page.open()
    near, far = np.indices((5, 5, 5)).reshape(3, -1).T * 0.1 + (-1, -0.2, -1.2), np.array((2.5, 0.5, -2.5))
    clouds = [points.ravel().tolist() for points in (near, near + far)]
    view, projection = page.page.evaluate(
        """async (clouds) => {
            const { Viewer } = await import("/static/viewer.js"), canvas = document.createElement("canvas");
            canvas.style = "position: fixed; width: 300px; height: 400px";
            document.body.append(canvas);
            const viewer = new Viewer(canvas), orbit = viewer.orbit;
            const cloud = (p) =>
                ({ positions: new Float32Array(p), colours: new Uint8Array(p.length), centre: [0, 0, 0] });
            viewer.show({ clouds: clouds.map(cloud), bodies: [], cameras: [] }, true);
            canvas.remove();
            return [[...orbit.view()], [...orbit.projection(300 / 400)]];
        }""",
        clouds,
    )
    matrix = np.reshape(projection, (4, 4)).T @ np.reshape(view, (4, 4)).T  # both column by column
    points = np.pad(np.reshape(clouds, (-1, 3)), ((0, 0), (0, 1)), constant_values=1) @ matrix.T
    inside = (points[:, 3] > 0) & (np.abs(points[:, :2]) < points[:, 3:]).all(axis=1)
    assert inside.mean() >= 0.89


@pytest.mark.slow
def test_a_lost_context_of_the_3d_view_comes_back(page: Page) -> None:
    page.open()
    before = distinct(page.colours("#space canvas"))
    page.page.evaluate(
        "() => { const gl = document.querySelector('#space canvas').getContext('webgl2');"
        " window.lost = gl.getExtension('WEBGL_lose_context'); window.lost.loseContext(); }"
    )
    time.sleep(0.3)
    page.page.evaluate("() => window.lost.restoreContext()")
    page.wait(lambda: distinct(page.colours("#space canvas")) > before / 2, "the view")


@pytest.mark.slow
def test_a_phone(browser: Any, server: LiveServer) -> None:
    phone = {
        "viewport": {"width": 390, "height": 844},
        "is_mobile": True,
        "has_touch": True,
        "device_scale_factor": 2,
    }
    with browser_page(browser, server.url, **phone) as page:
        page.open()
        width = page.page.evaluate("document.documentElement.scrollWidth")
        assert width <= 390
        origin = page.page.locator("#facts td:nth-child(2)").first.bounding_box()
        assert origin["height"] < 40  # one line, not a word broken into syllables
        page.page.tap("[data-answer=depth] .pick")
        page.page.tap("#panel-0 canvas")
        page.wait(lambda: "patches like" in page.text("#legend"), "similar patches")
        for selector in ("#webcam", "#second", "[data-answer=depth] .switch"):
            assert page.page.locator(selector).bounding_box()["height"] >= 19
        assert not page.problems


@pytest.mark.slow
def test_the_api_page_is_drawn_from_its_description(browser: Any, server: LiveServer) -> None:
    with browser_page(browser, server.url) as page:
        page.page.goto(f"{server.url}/docs")
        page.wait(lambda: "/v1/features" in page.text("main"), "the routes")
        assert "curl -F images=@picture.jpg" in page.text("main")
        assert not page.problems

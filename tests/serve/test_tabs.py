"""Tabs over real sockets: answers, newest frame wins, own state, wrong and silent ones sent away."""

import io
import json
import random
import struct
import time
import zlib
from contextlib import suppress

import numpy as np
import pytest
from live_server import LiveServer
from PIL import Image
from toy_perception import ToyPerception
from websockets.exceptions import ConnectionClosed

from codistill.serve.settings import ServeSettings


def test_hello_says_what_there_is_and_no_paths(server: LiveServer) -> None:
    with server.tab() as tab:
        hello = tab.hello
    assert [(head["name"], head["kind"]) for head in hello["perception"]["heads"]][:2] == [
        ("segmentation", "segmentation"),
        ("depth", "depth"),
    ]
    assert hello["perception"]["encoder"]["name"] == "toy.pth"
    assert "secret" not in json.dumps(hello)
    assert len(hello["ramp"]) == 256 * 6
    assert all(entry["pictures"] for entry in hello["samples"])


def test_pictures_and_samples(server: LiveServer, photo: bytes) -> None:
    with server.tab() as tab:
        tab.see(1, [photo], want=["depth", "segmentation"], points=100)
        header, arrays = tab.receive()
        assert (header["type"], header["id"]) == ("scene", 1)
        assert (header["images"][0]["height"], header["images"][0]["width"]) == (84, 112)
        assert set(arrays) >= {"features/0", "depth/0", "segmentation/0", "points/0", "colours/0"}
        assert {"wait", "decode", "encode", "depth", "pack"} <= set(header["seconds"])
        assert header["total"] >= header["seconds"]["pack"]
        tab.send(
            {"type": "see", "id": 2, "images": [{"sample": "room-1"}, {"sample": "room-2"}], "want": ["pair"]}
        )
        header, arrays = tab.receive()
        assert header["two_view"]["pairs"]
        tab.send({"type": "similar", "id": 3, "image": 1, "row": 0, "column": 0})
        header, arrays = tab.receive()
        assert arrays["similar/1"][0, 0] == 255
        tab.send({"type": "describe", "id": 4})
        header, _ = tab.receive()
        assert header["scene"]["images"] == [{"name": "room-1"}, {"name": "room-2"}]
        assert header["scene"]["far"] is None


def test_newest_frame_wins(photo: bytes) -> None:
    with LiveServer(ToyPerception(delay=0.15), ServeSettings(port=0)) as server, server.tab() as tab:
        for number in range(1, 21):
            tab.see(number, [photo])
        seen, replaced = [], []
        while 20 not in seen:
            header, _ = tab.receive()
            (seen if header["type"] == "scene" else replaced).append(header["id"])
        assert server.perception.calls == len(seen) <= 4
        assert sorted(seen + replaced) == list(range(1, 21))
        assert server.count("frames_replaced_total") == len(replaced)


def test_a_tab_has_its_own_state_and_its_own_rate(photo: bytes) -> None:
    settings = ServeSettings(port=0, max_fps=5)
    with LiveServer(ToyPerception(), settings) as server, server.tab() as one, server.tab() as other:
        one.see(1, [photo])
        assert one.receive()[0]["type"] == "scene"
        other.send({"type": "similar", "id": 1, "image": 0, "row": 0, "column": 0})
        assert "look at a picture first" in other.receive()[0]["text"]
        began = time.monotonic()
        for number in (2, 3, 4):
            one.see(number, [photo])
            one.receive()
        assert time.monotonic() - began > 0.5


def png(size: tuple[int, int]) -> bytes:
    """A few bytes that announce a picture of this size."""
    buffer = io.BytesIO()
    Image.new("1", (8, 8)).save(buffer, "PNG")
    data = buffer.getvalue()
    header = b"IHDR" + struct.pack(">II", *size) + data[24:29]
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


def test_bad_pictures_are_refused_and_the_tab_goes_on(server: LiveServer, photo: bytes) -> None:
    white = io.BytesIO()
    Image.new("RGB", (40, 40), "white").save(white, "PNG")
    cases = {
        "not an image": b"just some text, no picture at all",
        "more than the 4000000 allowed": png((3000, 3000)),
        "exceeds limit": png((30000, 30000)),
        "a strip": png((20000, 1)),
        "one colour": white.getvalue(),
        "empty|cannot|damaged|truncated": photo[: len(photo) // 2],
    }
    refused = server.count("refused_total", reason="picture")
    with server.tab() as tab:
        for number, (text, data) in enumerate(cases.items(), 1):
            tab.see(number, [data])
            header, _ = tab.receive()
            assert header["type"] == "error" and header["id"] == number, header
            assert any(part in header["text"] for part in text.split("|")), header
        tab.see(9, [photo], want=["nonsense"])
        assert "Unknown answer 'nonsense'" in tab.receive()[0]["text"]
        tab.send({"type": "see", "id": 10, "images": [{"sample": "../../etc/passwd"}]})
        assert "Unknown sample" in tab.receive()[0]["text"]
        tab.see(11, [photo])
        assert tab.receive()[0]["type"] == "scene"
    assert server.count("refused_total", reason="picture") == refused + len(cases) + 2


def test_a_bug_is_logged_and_not_told(server: LiveServer, caplog: pytest.LogCaptureFixture) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 40)).save(buffer, "PNG")
    with server.tab() as tab:
        tab.see(1, [buffer.getvalue()])
        header, _ = tab.receive()
    assert header["code"] == "failed"
    assert "bug" not in header["text"]
    assert "a bug that black pictures find" in caplog.text


def test_two_hundred_wrong_messages(server: LiveServer, photo: bytes) -> None:
    draw = random.Random(0)
    told = 0
    while told < 200:
        with server.tab() as tab:
            for _ in range(server.settings.max_mistakes):
                tab.socket.send(wrong_message(draw, photo))
                header, _ = tab.receive()
                assert header["type"] == "error", header
                assert len(header["text"]) < 500
                told += 1
            assert server.end_of(tab) == (1008, "20 wrong messages")
    with server.tab() as tab:
        tab.see(1, [photo])
        assert tab.receive()[0]["type"] == "scene"


def wrong_message(draw: random.Random, photo: bytes) -> str | bytes:
    """One of many ways to be wrong: noise, cut messages, wrong types, wrong numbers, wrong JSON."""
    good = {"type": "see", "id": 1, "images": [{"bytes": len(photo)}], "want": ["depth"]}
    text = json.dumps(good).encode()
    whole = len(text).to_bytes(4, "little") + text + photo
    kind = draw.randrange(6)
    if kind == 0:
        return draw.randbytes(draw.randrange(1, 300))
    if kind == 1:
        return whole[: draw.randrange(4, len(whole))]
    if kind == 2:
        value = draw.choice([None, -1, 1e300, "x", [], {}, True, 2**70])
        field = draw.choice(["id", "images"])
        return json.dumps(good | {field: value})
    if kind == 3:
        return "".join(chr(draw.randrange(32, 0x2FF)) for _ in range(draw.randrange(200)))
    if kind == 4:
        return "[" * draw.randrange(1, 60000)
    return json.dumps(
        {
            "type": draw.choice(["", "SEE", "exec", None, 3, "similar", "describe"]),
            "id": draw.choice(["1", -4]),
        }
    )


def test_too_long_a_message_closes_the_tab(server: LiveServer) -> None:
    with server.tab() as tab:
        with suppress(ConnectionClosed):
            tab.socket.send(b"x" * 2_100_000)
        assert server.end_of(tab)[0] == 1009


def test_silent_tabs_are_sent_away_and_too_many_are_refused(photo: bytes) -> None:
    settings = ServeSettings(port=0, max_clients=5, first_seconds=0.4, idle_seconds=60)
    with LiveServer(ToyPerception(), settings) as server:
        speaking = server.tab()
        speaking.see(1, [photo])
        speaking.receive()
        silent = [server.tab() for _ in range(4)]
        refused = server.tab_refused()
        assert refused == (1013, "5 tabs are open, which is all that are allowed")
        for tab in silent:
            with pytest.raises(ConnectionClosed) as closed:
                tab.receive()
            assert closed.value.rcvd is not None and closed.value.rcvd.code == 1008
        assert server.count("refused_total", reason="silent") == 4
        server.wait_for_tabs(1)
        with server.tab() as another:
            another.see(1, [photo])
            assert another.receive()[0]["type"] == "scene"
        speaking.see(2, [photo])
        assert speaking.receive()[0]["id"] == 2


def test_a_tab_that_does_not_read_is_dropped_and_harms_nobody(photo: bytes) -> None:
    pixels = np.random.default_rng(0).integers(1, 255, (300, 300, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    settings = ServeSettings(port=0, seconds=1.0)
    with LiveServer(ToyPerception(), settings) as server, server.tab() as well:
        deaf = server.tab(max_queue=1)
        with suppress(ConnectionClosed):
            for number in range(100_000):
                deaf.see(number, [buffer.getvalue()], want=["normals", "edges"])
        well.see(1, [photo])
        assert well.receive()[0]["id"] == 1
        server.wait_for_tabs(1)

"""REST: the same scene for programs; limits, names, tokens, other sites; nothing of the disk can be asked for."""

import io
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import httpx
import numpy as np
import pytest
from live_server import LiveServer
from toy_perception import ToyPerception
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from codistill.serve.settings import ServeSettings


def post(server: LiveServer, path: str, pictures: list[bytes], **more: Any) -> httpx.Response:
    files = [("images", (f"{i}.jpg", data)) for i, data in enumerate(pictures)]
    return httpx.post(f"{server.url}{path}", files=files, timeout=10, **more)


def test_see_as_numbers_and_as_arrays(server: LiveServer, photo: bytes) -> None:
    answer = post(server, "/v1/see", [photo], data={"want": ["depth"]})
    assert answer.status_code == 200
    assert answer.json()["images"] == [{"name": "0.jpg"}]
    answer = post(server, "/v1/see?as=npz", [photo, photo], data={"want": ["depth"]})
    arrays = np.load(io.BytesIO(answer.content))
    assert arrays["1/depth"].shape == (84, 112)
    assert json.loads(bytes(arrays["scene"]))["seconds"]["depth"] == 0.002


def test_features(server: LiveServer, photo: bytes) -> None:
    arrays = np.load(io.BytesIO(post(server, "/v1/features", [photo]).content))
    assert arrays["patches_0"].shape == (6 * 8, 3)
    assert arrays["grid_0"].tolist() == [6, 8]
    assert "registers_0" not in arrays
    shapes = post(server, "/v1/features?as=json", [photo]).json()["shapes"]
    assert shapes["patches_0"] == [48, 3]


def test_wrong_requests_say_why(server: LiveServer, photo: bytes) -> None:
    cases = [
        (post(server, "/v1/see", [b"text"]), 400, "not an image"),
        (post(server, "/v1/see", [photo], data={"want": "deph"}), 400, "Did you mean 'depth'"),
        (post(server, "/v1/see", [photo], data={"want": "pair"}), 400, "pair sees several pictures"),
        (post(server, "/v1/see?want=depth", [photo]), 400, "in the address: Unknown field 'want'"),
        (post(server, "/v1/see", [photo], data={"as": "npz"}), 400, "in the form: Unknown field 'as'"),
        (post(server, "/v1/features", [photo], data={"want": "depth"}), 400, "Unknown field 'want'"),
        (post(server, "/v1/see", [photo] * 9), 400, "at most 8"),
        (post(server, "/v1/see", [b"x" * 2_000_001]), 413, "reduce the picture"),
        (httpx.post(f"{server.url}/v1/see", data={"want": "depth"}), 422, "Field required"),
        (httpx.get(f"{server.url}/static/../../../../etc/passwd"), 404, "Not Found"),
        (httpx.get(f"{server.url}/static/%2e%2e%2fapp.py"), 404, ""),
        (httpx.get(f"{server.url}/samples/room-1.jpg"), 404, "no such page"),
    ]
    for answer, status, text in cases:
        assert answer.status_code == status, answer.text
        assert text in answer.text


def test_a_body_that_lies_about_its_length_is_cut_off(server: LiveServer) -> None:
    def endless() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n'
        for _ in range(400):
            yield b"x" * 10_000

    kind = {"content-type": "multipart/form-data; boundary=b"}
    refused = server.count("refused_total", reason="body")
    with suppress(httpx.WriteError):  # the server closes the connection while the rest is sent
        assert httpx.post(f"{server.url}/v1/see", content=endless(), headers=kind).status_code == 413
    assert server.count("refused_total", reason="body") == refused + 1


def test_the_page_and_its_files(server: LiveServer) -> None:
    page = httpx.get(server.url)
    assert "One encoder pass" in page.text
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert "access-control-allow-origin" not in page.headers
    script = httpx.get(f"{server.url}/static/main.js")
    assert script.headers["content-type"].startswith("text/javascript")
    mark = {"if-none-match": script.headers["etag"]}
    assert httpx.get(f"{server.url}/static/main.js", headers=mark).status_code == 304
    assert httpx.get(f"{server.url}/samples/room-1").content.startswith(b"\xff\xd8")
    assert httpx.get(f"{server.url}/docs").status_code == 200
    assert set(httpx.get(f"{server.url}/openapi.json").json()["paths"]) == {
        "/v1/see",
        "/v1/features",
        "/healthz",
        "/metrics",
    }


def test_probes_and_metrics(server: LiveServer, photo: bytes) -> None:
    post(server, "/v1/see", [photo])
    assert httpx.get(f"{server.url}/healthz").json()["status"] == "ok"
    text = httpx.get(f"{server.url}/metrics").text
    assert 'codistill_scenes_total{kind="rest"}' in text
    assert 'codistill_stage_seconds_bucket{le="0.05",stage="encode"}' in text


def test_names_and_other_sites(server: LiveServer) -> None:
    for name, status in (("localhost", 200), ("127.0.0.1:99", 200), ("evil.example", 421), ("", 421)):
        assert httpx.get(f"{server.url}/healthz", headers={"host": name}).status_code == status, name
    other = {"origin": "http://evil.example"}
    assert httpx.post(f"{server.url}/v1/see", headers=other).status_code == 403
    own = {"origin": server.url}
    assert httpx.get(server.url, headers=own).status_code == 200
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://127.0.0.1:{server.port}/live", origin="http://evil.example")  # type: ignore[arg-type]
    assert refused.value.response.status_code == 403
    assert server.count("refused_total", reason="origin") >= 2


def test_a_token_in_every_form() -> None:
    with LiveServer(ToyPerception(), ServeSettings(port=0, token="a-long-token")) as server:
        assert httpx.get(server.url).status_code == 401
        assert httpx.get(f"{server.url}/openapi.json").status_code == 401
        assert httpx.get(f"{server.url}/healthz").status_code == 200
        assert httpx.get(f"{server.url}/?token=wrong").status_code == 401
        bearer = {"authorization": "Bearer a-long-token"}
        assert httpx.get(f"{server.url}/metrics", headers=bearer).status_code == 200
        with pytest.raises(InvalidStatus):
            connect(f"ws://127.0.0.1:{server.port}/live")
        with httpx.Client(base_url=server.url, follow_redirects=True) as browser:
            page = browser.get("/?token=a-long-token")
            assert page.status_code == 200
            assert str(page.url).endswith("/")
            cookie = page.history[0].headers["set-cookie"]
            assert "HttpOnly" in cookie and "SameSite=strict" in cookie
            assert browser.get("/openapi.json").status_code == 200
        with server.tab(additional_headers={"cookie": "codistill_token=a-long-token"}) as tab:
            assert tab.hello["type"] == "hello"


def test_a_hundred_silent_connections() -> None:
    settings = ServeSettings(port=0, first_seconds=0.5, max_connections=40)
    with LiveServer(ToyPerception(), settings) as server:
        silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(60)]
        for one in silent[:30]:
            try:
                one.sendall(b"POST /v1/see HTTP/1.1\r\nHost: loc")
            except OSError:  # closed for a newer one
                continue
        assert httpx.get(f"{server.url}/healthz").status_code == 200
        time.sleep(0.8)
        for one in silent:
            one.settimeout(0.2)
            with one, suppress(ConnectionError):
                assert one.recv(10) == b""
        assert httpx.get(f"{server.url}/healthz").status_code == 200


def test_too_many_requests_are_told_to_come_again(photo: bytes) -> None:
    settings = ServeSettings(port=0, max_waiting=2)
    with LiveServer(ToyPerception(delay=0.3), settings) as server, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: post(server, "/v1/see", [photo]), range(8)))
    found = sorted(answer.status_code for answer in answers)
    assert found.count(200) >= 3
    assert set(found) == {200, 503}
    assert next(a for a in answers if a.status_code == 503).headers["retry-after"] == "2"


def test_a_slow_body_and_slow_work(photo: bytes) -> None:
    settings = ServeSettings(port=0, seconds=0.4)
    with LiveServer(ToyPerception(delay=0.8), settings) as server:
        assert post(server, "/v1/see", [photo]).status_code == 504
        with socket.create_connection(("127.0.0.1", server.port)) as slow:
            slow.sendall(
                b"POST /v1/see HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
                b"Content-Length: 1000\r\n\r\n--b"
            )
            slow.settimeout(5)
            assert b"408" in slow.recv(200)

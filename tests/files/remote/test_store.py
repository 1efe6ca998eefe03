"""What a web server answers is an object, its absence, or a failure that is waited out: never one for another."""

import http.server
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from codistill.errors import StoreError
from codistill.files.remote import retrying, store
from codistill.files.remote.retrying import MissingObjectError
from codistill.files.remote.store import find_object, list_objects, object_state, upload

pytest.importorskip("aiohttp", reason="the extra `remote` is not installed")
PAGES = {"/": ("a.jpg", "sub/", "gone/"), "/sub/": ("b.jpg",)}


class Web(http.server.BaseHTTPRequestHandler):
    """Files and pages; what is asked for below /failing/ or as `sub/` fails twice."""

    asked: ClassVar[Counter[str]] = Counter()

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        self.asked[self.path] += 1
        page = PAGES.get(f"{self.path.rstrip('/')}/")
        if self.path == "/sub" and self.asked[self.path] <= 2:
            self.say(302, Location="http://127.0.0.1:9/")  # where nothing listens
        elif self.path.startswith("/failing/") and self.asked[self.path] <= 2:
            self.say(503)
        elif self.path == "/forbidden.jpg":
            self.say(403)
        elif self.path == "/unsized.jpg":
            self.say(200)
        elif page is not None:
            self.say(200, "".join(f'<a href="{name}">{name}</a>' for name in page), body=body)
        elif self.path.endswith(".jpg"):
            self.say(200, "content", body=body, Etag='"1"')
        else:
            self.say(404)

    def say(self, code: int, text: str = "", *, body: bool = False, **headers: str) -> None:
        self.send_response(code)
        if text:
            headers |= {"Content-Type": "text/html", "Content-Length": str(len(text))}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(retrying, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(Web, "asked", Counter())
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Web) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_server_that_fails_for_a_while_has_the_object(web: str) -> None:
    state = find_object(f"{web}/failing/a.jpg", patience=20)
    assert state is not None and state.size == len("content")


def test_only_what_is_missing_counts_as_missing(web: str) -> None:
    assert find_object(f"{web}/missing.txt", patience=20) is None
    with pytest.raises(StoreError, match="refuses access") as raised:
        object_state(f"{web}/forbidden.jpg", patience=20)
    assert not isinstance(raised.value, MissingObjectError)


def test_an_object_without_a_size_is_refused(web: str) -> None:
    with pytest.raises(StoreError, match=r"unsized\.jpg: the server does not say how large it is"):
        find_object(f"{web}/unsized.jpg", patience=20)


class SlowStore:
    """A store in which everything takes a third of a second."""

    async_impl = False

    def put_file(self, path: str, url: str) -> None:
        time.sleep(0.3)

    def info(self, url: str) -> dict[str, Any]:
        return {"name": url, "type": "file", "size": 100}

    def find(self, url: str, detail: bool) -> dict[str, dict[str, Any]]:
        time.sleep(0.3)
        return {f"{url}/a.jpg": self.info(url)}

    def _strip_protocol(self, url: str) -> str:
        return url


def test_what_is_large_may_take_longer_than_one_part(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "a.tar").write_bytes(bytes(100))
    monkeypatch.setattr(store, "filesystem", lambda url: SlowStore())
    monkeypatch.setattr(store, "LONGEST_ATTEMPT", 0.1)
    monkeypatch.setattr(store, "_PART", 20)
    assert upload(tmp_path / "a.tar", "s3://bucket/a.tar", patience=0.2).size == 100
    monkeypatch.setattr(store._patiently, "__defaults__", (0.1,))
    assert list(list_objects("s3://bucket", patience=1.0)) == ["a.jpg"]


def test_a_listing_leaves_no_folder_out_that_fails_for_a_while(web: str) -> None:
    assert list(list_objects(web, patience=20)) == ["a.jpg", "sub/b.jpg"]

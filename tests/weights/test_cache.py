"""Where known weights are looked for, and downloads from a server on this machine: resumed, checked, refused."""

import hashlib
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from codistill.errors import CheckpointError
from codistill.files.hashes import file_sha256
from codistill.weights import cache
from codistill.weights.cache import find_weights
from codistill.weights.download import download
from codistill.weights.known import known_weights

CONTENT = bytes(range(256)) * 3000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT, with Range; may cut connections, ignore ranges, or send a web page."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.cut_after: list[int] = []  # per connection: bytes after which it breaks
        self.ranges = True
        self.html = False
        self.asked: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/weights.pth"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        server, wanted = self.server, self.headers.get("Range")
        server.asked.append(wanted)
        content, start = server.content, 0
        if self.path != "/weights.pth":
            self.send_error(404, "Not Found")
            return
        if wanted and server.ranges:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.end_headers()
                return
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", "text/html" if server.html else "application/octet-stream")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        cut = server.cut_after.pop(0) if server.cut_after else None
        self.wfile.write(content[start:] if cut is None else content[start : start + cut])
        self.close_connection = True


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_a_download_arrives_whole_and_is_not_repeated(server, tmp_path) -> None:
    target = tmp_path / "cache" / "weights.pth"
    assert download(server.url, target, sha256=SHA256.upper()) == target
    assert target.read_bytes() == CONTENT and file_sha256(target) == SHA256
    download(server.url, target, sha256=SHA256)
    assert server.asked == [None]
    assert {path.name for path in target.parent.iterdir()} <= {"weights.pth", ".weights.pth.lock"}


def test_broken_connections_go_on_where_they_stopped(server, tmp_path) -> None:
    server.cut_after = [300_000, 100_000]
    target = download(server.url, tmp_path / "weights.pth", sha256=SHA256)
    assert target.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=300000-", "bytes=400000-"]


def test_an_interrupted_download_resumes_in_the_next_call(server, tmp_path) -> None:
    server.cut_after = [1000, 10, 10, 10]
    with pytest.raises(CheckpointError, match=r"interrupted after 1,030 bytes.*Run the same command again"):
        download(server.url, tmp_path / "weights.pth", sha256=SHA256)
    assert not (tmp_path / "weights.pth").exists()
    assert (tmp_path / "weights.pth.partial").read_bytes() == CONTENT[:1030]
    server.asked.clear()
    download(server.url, tmp_path / "weights.pth", sha256=SHA256)
    assert server.asked == ["bytes=1030-"] and (tmp_path / "weights.pth").read_bytes() == CONTENT


@pytest.mark.parametrize("left", [CONTENT, CONTENT + b"more"], ids=["whole", "longer"])
def test_a_partial_file_that_is_whole_or_too_long(server, tmp_path, left: bytes) -> None:
    (tmp_path / "weights.pth.partial").write_bytes(left)
    download(server.url, tmp_path / "weights.pth", sha256=SHA256)
    assert (tmp_path / "weights.pth").read_bytes() == CONTENT
    assert len(server.asked) == (1 if left == CONTENT else 2)


def test_a_server_without_ranges_starts_again(server, tmp_path) -> None:
    server.ranges = False
    (tmp_path / "weights.pth.partial").write_bytes(b"wrong beginning")
    download(server.url, tmp_path / "weights.pth", sha256=SHA256)
    assert (tmp_path / "weights.pth").read_bytes() == CONTENT


def test_a_wrong_hash_leaves_nothing_behind(server, tmp_path) -> None:
    server.content = CONTENT[:-1] + b"!"
    found = hashlib.sha256(server.content).hexdigest()
    with pytest.raises(CheckpointError, match=rf"SHA-256 {found}, expected {SHA256}"):
        download(server.url, tmp_path / "weights.pth", sha256=SHA256)
    assert not (tmp_path / "weights.pth").exists() and not (tmp_path / "weights.pth.partial").exists()


def test_refusals_say_why(server, tmp_path) -> None:
    with pytest.raises(CheckpointError, match=r"HTTP 404 Not Found"):
        download(server.url + "x", tmp_path / "a.pth")
    server.html = True
    with pytest.raises(CheckpointError, match="a web page instead of the file"):
        download(server.url, tmp_path / "b.pth")
    with pytest.raises(CheckpointError, match=r"127\.0\.0\.1:9/.*cannot be downloaded"):
        download("http://127.0.0.1:9/weights.pth", tmp_path / "c.pth")
    assert [path for path in tmp_path.iterdir() if path.suffix == ".pth"] == []
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"cannot be written .*CODISTILL_CACHE"):
        download(server.url, tmp_path / "file" / "d.pth")


def test_processes_wait_for_the_one_that_fetches(server, tmp_path) -> None:
    """As torchrun's ranks do: one connection, everybody gets the file."""
    results: list[Path] = []
    threads = [
        threading.Thread(
            target=lambda: results.append(download(server.url, tmp_path / "w.pth", sha256=SHA256))
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4 and server.asked == [None]


@pytest.fixture
def places(tmp_path, monkeypatch) -> tuple[Path, Path]:
    """An empty cache and an empty folder of the user's."""
    folders = tmp_path / "cache", tmp_path / "mine"
    for folder in folders:
        folder.mkdir()
    monkeypatch.setenv("CODISTILL_CACHE", str(folders[0]))
    monkeypatch.setenv("CODISTILL_WEIGHTS", os.pathsep.join([str(tmp_path / "absent"), str(folders[1])]))
    monkeypatch.setenv("CODISTILL_OFFLINE", "1")
    return folders


def test_places_in_order(places, tmp_path) -> None:
    cached, mine = places
    (tmp_path / "given.pth").touch()
    (mine / "dinov2_vits14_reg.pth").touch()  # another model of a longer name
    (mine / "dinov2_vits14_fp16.safetensors").touch()
    (mine / "dinov2_vits14.txt").touch()
    assert find_weights("dinov2_vits14").name == "dinov2_vits14_fp16.safetensors"
    (cached / "dinov2_vits14_pretrain.pth").touch()
    assert find_weights("dino2_vitsmall_14").parent == cached
    assert find_weights("dinov2_vits14", path=tmp_path / "given.pth") == tmp_path / "given.pth"
    with pytest.raises(CheckpointError, match=r"absent\.pth: no such file, given for dinov2_vits14"):
        find_weights("dinov2_vits14", path="absent.pth")


def test_the_choice_between_two_files_is_said(places, caplog) -> None:
    for name in ("dinov2_vits14.pth", "dinov2_vits14_fp16.safetensors"):
        (places[1] / name).touch()
    assert find_weights("dinov2_vits14").name == "dinov2_vits14.pth"
    assert (
        "dinov2_vits14.pth: taken as dinov2_vits14; the same folder also has dinov2_vits14_fp16"
        in caplog.text
    )
    caplog.clear()
    (places[1] / "dinov2_vits14_pretrain.pth").touch()
    assert find_weights("dinov2_vits14").name == "dinov2_vits14_pretrain.pth" and not caplog.text


def test_export_folders_count_as_weights(places) -> None:
    export = places[1] / "dune_vitbase14_448"
    export.mkdir()
    with pytest.raises(CheckpointError):
        find_weights("dune_vitbase_14_448")
    (export / "config.json").touch()
    assert find_weights("dune_vitbase_14_448") == export


def test_offline_and_nowhere_lists_every_place(places) -> None:
    with pytest.raises(CheckpointError) as caught:
        find_weights("mast3r_vitlarge_16")
    said = str(caught.value)
    for part in (
        *map(str, places),
        "CODISTILL_OFFLINE",
        "CC BY-NC-SA 4.0",
        known_weights("mast3r_vitlarge_16").url,
    ):
        assert part in said


def test_the_network_comes_last_and_says_the_licence(places, server, monkeypatch, capsys) -> None:
    known = replace(known_weights("dinov2_vits14"), url=server.url, sha256=SHA256)
    monkeypatch.setattr(cache, "known_weights", lambda _: known)
    monkeypatch.setenv("CODISTILL_OFFLINE", "0")
    path = find_weights("dinov2_vits14")
    assert path == places[0] / "weights.pth" and path.read_bytes() == CONTENT
    assert "licence: Apache-2.0" in capsys.readouterr().err
    assert find_weights("dinov2_vits14") == path and server.asked == [None]


def test_an_unreachable_network_is_one_of_the_places(places, monkeypatch) -> None:
    known = replace(known_weights("dinov2_vits14"), url="http://127.0.0.1:9/weights.pth")
    monkeypatch.setattr(cache, "known_weights", lambda _: known)
    monkeypatch.setenv("CODISTILL_OFFLINE", "")
    with pytest.raises(CheckpointError, match=r"not on this machine(.|\n)*127\.0\.0\.1:9(.|\n)*To do"):
        find_weights("dinov2_vits14")

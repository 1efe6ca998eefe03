"""Shards, manifests and folders written to a store and read from it: fsspec's own store in memory."""

import json
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from sample_pictures import encoded, picture, write_pictures, write_tar

from codistill.commands.index import main as index
from codistill.data import SourceConfig, open_source
from codistill.data.packing import pack_source
from codistill.data.remote.folder import record_shards_in_store
from codistill.data.remote.shards import RemoteShards
from codistill.errors import ConfigError, DataError, StoreError

NAMES = ["b.jpg", "a/2.jpg", "a/10.png", "a/c/1.jpg", "d/1.jpg"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODISTILL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def store() -> Iterator[fsspec.AbstractFileSystem]:
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    yield memory
    memory.store.clear()


@pytest.fixture
def images(tmp_path: Path) -> Path:
    write_pictures(tmp_path / "images", NAMES)
    return tmp_path / "images"


def put(store: fsspec.AbstractFileSystem, folder: Path, url: str) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            store.pipe_file(f"{url}/{path.relative_to(folder).as_posix()}", path.read_bytes())


def source(path: str, **options: str):
    return open_source(SourceConfig(name="s", path=path, **options))  # type: ignore[arg-type]


def content(path: str, **options: str) -> list[tuple[str, bytes]]:
    opened = source(path, **options)
    return [(opened.name_of(at), opened.read(at)) for at in range(len(opened))]


def test_a_folder_has_the_images_and_order_of_its_local_copy(
    images: Path, store: fsspec.AbstractFileSystem
) -> None:
    (images / ".hidden.jpg").write_bytes(b"x")
    (images / "__MACOSX").mkdir()
    (images / "__MACOSX" / "x.jpg").write_bytes(b"x")
    (images / "more.zip").write_bytes(b"x")
    put(store, images, "memory://bucket/images")
    assert content("memory://bucket/images/") == content(str(images))
    assert set(source("memory://bucket/images").passed.kinds) == {
        "hidden files",
        "objects in hidden folders or folders of other programs",
        "archives, which are not opened",
    }
    store.pipe_file("memory://bucket/images/a/2.json", b"{}")
    assert source("memory://bucket/images").read_member(2, "json") == b"{}"


def test_lists_and_manifests(images: Path, store: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    put(store, images, "memory://bucket/images")
    for out, root in (
        ("memory://bucket/images/m.parquet", "memory://bucket/images"),
        ("memory://bucket/lists/m.parquet", "memory://bucket/images"),
        (str(tmp_path / "m.parquet"), "memory://bucket/images"),
    ):
        assert index(["s", "--root", root, "--out", out]) == 0
        assert content(out) == content(str(images))
    store.pipe_file("memory://bucket/images/l.txt", b"d/1.jpg\nmemory://bucket/images/b.jpg\n")
    assert [name for name, _ in content("memory://bucket/images/l.txt")] == ["d/1.jpg", "b.jpg"]
    (tmp_path / "l.txt").write_text("../secret.jpg")
    with pytest.raises(DataError, match="outside of the root memory://bucket/images"):
        source(str(tmp_path / "l.txt"), root="memory://bucket/images")


def test_packing_to_a_store_gives_the_local_bytes_and_resumes(
    images: Path, store: fsspec.AbstractFileSystem, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    local = source(str(images))
    pack_source(local, tmp_path / "p", images_per_shard=2)
    url = "memory://bucket/p"
    command = ["s", "--root", str(images), "--out", url, "--pack", "--images-per-shard", "2"]
    assert index(command) == 0
    assert "5 images packed into 3 shards in memory://bucket/p" in capsys.readouterr().out
    for name in ("shard-000000.tar", "shard-000002.tar", "pack.json"):
        assert store.cat_file(f"{url}/{name}") == (tmp_path / "p" / name).read_bytes()
    assert isinstance(source(url), RemoteShards) and content(url) == content(str(tmp_path / "p"))
    created = store.info(f"{url}/shard-000000.tar")["created"]
    store.rm(f"{url}/shard-000001.tar.json")  # as after a kill
    store.rm(f"{url}/index.parquet")
    assert index(command) == 0
    assert store.info(f"{url}/shard-000000.tar")["created"] == created
    assert content(url) == content(str(tmp_path / "p"))
    with pytest.raises(DataError, match="shards of something else were begun here"):
        pack_source(local, url, images_per_shard=3)
    with pytest.raises(ConfigError, match="web server cannot be written"):
        pack_source(local, "https://host/p")


def test_shards_on_a_web_server_are_verified(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("aiohttp", reason="the extra `remote` is not installed")
    pack_source(source(str(images)), tmp_path / "p", images_per_shard=2)
    page = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), page) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        command = ["s", "--root", f"http://127.0.0.1:{server.server_port}/p"]
        assert index([*command, "--verify"]) == 0
        assert "3 shards" in capsys.readouterr().out
        with pytest.raises(ConfigError, match="web server cannot be written"):
            index(command)
        server.shutdown()


def test_foreign_shards_are_indexed_and_verified(
    store: fsspec.AbstractFileSystem, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tars = tmp_path / "tars"
    tars.mkdir()
    for number in range(2):
        members = [(f"{number}{n}.jpg", encoded(picture(10 * number + n))) for n in range(3)]
        write_tar(tars / f"{number}.tar", [*members, (f"{number}x.txt", b"no image")])
    url = "memory://bucket/tars"
    put(store, tars, url)
    with pytest.raises(DataError, match=r"no index\.parquet.*codistill index s --root memory://bucket/tars"):
        source(url)
    assert index(["s", "--root", url]) == 0
    assert content(url) == content(str(tars))
    assert "samples without an image" in str(source(url).passed)
    record_shards_in_store(url)
    assert index(["s", "--root", url, "--verify"]) == 0
    data = store.cat_file(f"{url}/1.tar")
    store.pipe_file(f"{url}/1.tar", data[:700] + b"?" + data[701:])
    capsys.readouterr()
    assert index(["s", "--root", url, "--verify"]) == 1
    assert "memory://bucket/tars/1.tar: damaged" in capsys.readouterr().out
    assert index(["s", "--root", url]) == 0  # reads the changed one again
    assert json.loads(store.cat_file(f"{url}/1.tar.json"))["samples"][0][1][0][3] != 0
    assert source(url).read(3)


def test_errors_say_what_to_do(images: Path, store: fsspec.AbstractFileSystem) -> None:
    with pytest.raises(StoreError, match="memory://bucket/none: nothing lies there"):
        source("memory://bucket/none")
    with pytest.raises(ConfigError, match="unknown kind of address 'foo'; known: s3://"):
        source("foo://bucket/none")
    with pytest.raises(DataError, match="is one object"):
        source("memory://bucket/a.jpg")
    with pytest.raises(ConfigError, match="--cache-gb would have no effect"):
        index(["s", "--root", str(images), "--out", "memory://bucket/p", "--pack", "--cache-gb", "1"])
    with pytest.raises(ConfigError, match="carries credentials"):
        index(["s", "--root", str(images), "--out", "s3://u:pass@bucket/p", "--pack"])

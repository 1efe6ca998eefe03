"""An index notices that shards have changed, says so, and reads those alone again."""

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sample_pictures import encoded, write_tar

from codistill.data import SourceConfig, open_source
from codistill.data import shard_index as under_test
from codistill.data.index_rows import SCHEMA, SHARDS
from codistill.data.shard_format import read_record
from codistill.data.shard_index import record_shards
from codistill.errors import DataError

PICTURES = {
    name: encoded(np.full((8, 8, 3), value, np.uint8), "PNG")
    for value, name in enumerate(["cat", "dog", "cow"])
}


def write(folder: Path, shard: str, *names: str) -> None:
    folder.mkdir(exist_ok=True)
    later = max((path.stat().st_mtime_ns for path in folder.iterdir()), default=0) + 10_000_000
    write_tar(folder / shard, [(f"{name}.png", PICTURES[name]) for name in names])
    os.utime(folder / shard, ns=(later, later))  # the clock of the file system may be slower than this test


def seen(folder: Path) -> list[str]:
    """Names of the images, each checked against its pixels."""
    source = open_source(SourceConfig(name="s", path=str(folder)))
    names = []
    for index in range(len(source)):
        name = source.name_of(index).removesuffix(".png")
        assert source.read(index) == PICTURES[name]
        names.append(name)
    return names


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the shards that are read."""
    done: list[str] = []
    scan: Callable = under_test.scan_shard
    monkeypatch.setattr(
        under_test,
        "scan_shard",
        lambda shard, hashed: (done.append(shard.name), scan(shard, hashed=hashed))[1],
    )
    return done


def test_shards_rewritten_at_equal_size_are_read_again_alone(
    tmp_path: Path, scans: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "web"
    write(folder, "a.tar", "cat", "dog")
    write(folder, "b.tar", "cow")
    assert seen(folder) == ["cat", "dog", "cow"] and sorted(scans) == ["a.tar", "b.tar"]
    scans.clear()
    assert seen(folder) == ["cat", "dog", "cow"] and scans == [] and not caplog.messages
    write(folder, "a.tar", "dog", "cat")
    assert seen(folder) == ["dog", "cat", "cow"] and scans == ["a.tar"]
    assert "1 changed (a.tar)" in caplog.text and "b.tar" not in caplog.text
    os.utime(folder / "b.tar", ns=(1, 1))  # put back, older than it was: another one all the same
    write(folder, "c.tar", "cat")
    (folder / "a.tar").unlink()
    assert seen(folder) == ["cow", "cat"]
    assert "1 changed (b.tar); 1 new (c.tar); 1 gone (a.tar)" in caplog.text


def test_shards_changed_after_their_records_and_index(
    tmp_path: Path, scans: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "web"
    write(folder, "a.tar", "cat", "dog")
    write(folder, "b.tar", "cow")
    record_shards(folder)
    sealed = (folder / "b.tar.json").read_bytes()
    write(folder, "a.tar", "dog", "cat", "cow")
    assert seen(folder) == ["dog", "cat", "cow", "cow"]
    assert "a.tar: was changed since index.parquet was written" in caplog.text
    scans.clear()
    record_shards(folder)
    assert scans == ["a.tar"] and (folder / "b.tar.json").read_bytes() == sealed
    assert read_record(folder / "a.tar").samples[0][0] == "dog"
    assert seen(folder) == ["dog", "cat", "cow", "cow"]
    os.utime(folder / "a.tar")  # touched, not changed
    caplog.clear()
    assert seen(folder) == ["dog", "cat", "cow", "cow"] and "was changed" not in caplog.text


def test_index_and_shards_must_be_of_each_other(tmp_path: Path) -> None:
    folder = tmp_path / "web"
    write(folder, "a.tar", "cat")
    record_shards(folder)
    write(folder, "b.tar", "dog")
    with pytest.raises(
        DataError, match=r"1 shards are not in index\.parquet, first 'b\.tar'.*codistill index"
    ):
        seen(folder)
    record_shards(folder)
    assert seen(folder) == ["cat", "dog"]


@pytest.mark.parametrize("name", ["/etc/passwd", "../secret.tar", "secret.txt"])
@pytest.mark.parametrize("sizes", [{}, None])
def test_an_index_names_only_shards_of_its_folder(tmp_path: Path, name: str, sizes: dict | None) -> None:
    folder = tmp_path / "web"
    write(folder, "a.tar", "cat")
    for secret in (tmp_path / "secret.tar", folder / "secret.txt"):
        secret.write_bytes(b"0123456789")
    row = {
        "shard": [name],
        "key": ["x"],
        "member": [["jpg"]],
        "offset": [[0]],
        "size": [[9]],
        "crc32": [[None]],
    }
    arrays = [pa.array(row[field.name], field.type) for field in SCHEMA]
    stated = {SHARDS: json.dumps({name: 10} if sizes is None else sizes)}
    pq.write_table(
        pa.Table.from_arrays(arrays, schema=SCHEMA.with_metadata(stated)), folder / "index.parquet"
    )
    with pytest.raises(DataError, match=r"is no \.tar file below|1 of 1 shards are missing"):
        seen(folder)


def test_cut_shards_are_refused_also_where_they_were_sealed(tmp_path: Path) -> None:
    folder = tmp_path / "web"
    write(folder, "a.tar", "cat", "dog", "cow")
    record_shards(folder)
    record = read_record(folder / "a.tar")
    whole = (folder / "a.tar").read_bytes()
    cut = record.samples[-1][1][0].offset - 512
    (folder / "a.tar").write_bytes(whole[:cut])
    for path in folder.glob("index*"):
        path.unlink()
    sealed = json.loads(
        (folder / "a.tar.json").read_text()
    )  # as a version that took cut tars for whole wrote it
    sealed |= {"size": cut, "samples": sealed["samples"][:2]}
    (folder / "a.tar.json").write_text(json.dumps(sealed))
    for opened in (seen, record_shards):
        with pytest.raises(DataError, match=r"a\.tar: cut short or damaged"):
            opened(folder)


def test_what_shards_hold_beside_images_is_said_and_not_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "web"
    folder.mkdir()
    image = PICTURES["cat"]
    names = [
        "a.png",
        "a.json",
        "._a.png",
        "b.json",
        "c.jpg",
        "c.png",
        "d.1.jpg",
        "d.2.jpg",
        "a.png",
        "README",
    ]
    write_tar(folder / "x.tar", [(name, image) for name in names])
    source = open_source(SourceConfig(name="s", path=str(folder)))
    assert [source.name_of(n) for n in range(len(source))] == ["a.png", "c.jpg", "a.png"]
    for text in (
        "1 hidden members or members of other programs (first: ._a.png in x.tar)",
        "3 samples without an image (JPG, PNG, … after the first dot) (first: b: json in x.tar)",
        "1 further images of samples that have several; the first is taken (first: c: jpg, png in x.tar)",
        "1 samples of a repeated name; all are used (first: a in x.tar)",
    ):
        assert text in caplog.text
    record_shards(folder)
    again = open_source(SourceConfig(name="s", path=str(folder)))
    assert len(again) == 3 and str(again.passed) == str(source.passed)


def test_where_no_image_is_found_the_reason_is_given(tmp_path: Path) -> None:
    folder = tmp_path / "web"
    folder.mkdir()
    write_tar(folder / "x.tar", [("__MACOSX/._a.jpg", b"x"), ("a.json", b"{}")])
    with pytest.raises(
        DataError, match=r"0 images found in .*web \(shards\)\. Passed over: 1 hidden members"
    ) as error:
        open_source(SourceConfig(name="s", path=str(folder)))
    assert "expected=0" not in str(error.value)


@pytest.fixture(autouse=True)
def heard(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="codistill")

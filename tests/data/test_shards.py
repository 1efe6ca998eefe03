"""Tar shards: written, indexed, read at random, damaged, packed again."""

import io
import json
import pickle
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import packing_chaos
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sample_pictures import encoded, picture, write_pictures

import forked
from codistill.data import SourceConfig, open_source
from codistill.data.manifest import write_manifest
from codistill.data.names import table_of_paths
from codistill.data.packing import pack_source
from codistill.data.shard_format import read_record, scan_shard, verify_shard, write_shard
from codistill.data.shard_index import record_shards, write_index
from codistill.data.shards import ShardSource
from codistill.errors import CodistillError, DataError
from codistill.imaging import decode_map

NAMES = [f"{folder}/{n:02d}.jpg" for folder in "abc" for n in range(5)]


def shards_at(folder: Path, **options: object) -> ShardSource:
    source = open_source(SourceConfig(name="s", path=str(folder), **options))  # type: ignore[arg-type]
    assert isinstance(source, ShardSource)
    return source


@pytest.fixture
def images(tmp_path: Path) -> Path:
    write_pictures(tmp_path / "images", NAMES)
    return tmp_path / "images"


@pytest.fixture
def packed(images: Path, tmp_path: Path) -> Path:
    pack_source(open_source(SourceConfig(name="s", path=str(images))), tmp_path / "p", images_per_shard=4)
    return tmp_path / "p"


def test_packed_source_is_the_same_source(images: Path, packed: Path) -> None:
    plain = open_source(SourceConfig(name="s", path=str(images)))
    source = shards_at(packed)
    assert len(source) == 15 and len(list(packed.glob("*.tar"))) == 4
    for index in (14, 0, 7, 3, 4):
        assert source.name_of(index) == plain.name_of(index)
        assert source.read(index) == plain.read(index)
    chosen = shards_at(packed, include=("b/*",), exclude=("*3.jpg",))
    assert [chosen.name_of(n) for n in range(len(chosen))] == ["b/00.jpg", "b/01.jpg", "b/02.jpg", "b/04.jpg"]
    copy = pickle.loads(pickle.dumps(source))
    assert copy.read(9) == plain.read(9)


def test_shards_are_ordinary_tar_files(packed: Path) -> None:
    with tarfile.open(packed / "shard-000003.tar") as tar:
        assert tar.getnames() == ["c/02.jpg", "c/03.jpg", "c/04.jpg"]
        member = tar.extractfile("c/03.jpg")
        assert member is not None
        assert Image.open(io.BytesIO(member.read())).size == (80, 60)


def test_bytes_do_not_depend_on_workers_or_interruptions(images: Path, packed: Path, tmp_path: Path) -> None:
    source = open_source(SourceConfig(name="s", path=str(images)))
    before = {path.name: path.read_bytes() for path in packed.glob("shard-*.tar*")}
    again = tmp_path / "again"
    pack_source(source, again, images_per_shard=4, workers=1)
    (again / "shard-000001.tar.json").unlink()
    (again / "shard-000001.tar").write_bytes(b"half a shard")
    (again / "shard-000002.tar").unlink()
    (again / ".tmp-shard-000003.tar-77").write_bytes(b"left by a kill")
    stamp = (again / "shard-000000.tar").stat().st_mtime_ns
    seen: list[tuple[int, int]] = []
    pack_source(source, again, images_per_shard=4, workers=3, progress=lambda *n: seen.append(n))
    assert {path.name: path.read_bytes() for path in again.glob("*shard-*.tar*")} == before
    assert (again / "shard-000000.tar").stat().st_mtime_ns == stamp
    assert seen[-1] == (15, 15)


def test_pack_refuses_to_mix(images: Path, packed: Path, tmp_path: Path) -> None:
    source = open_source(SourceConfig(name="s", path=str(images)))
    with pytest.raises(DataError, match=r"something else were begun here \(images_per_shard differ\)"):
        pack_source(source, packed, images_per_shard=5)
    fewer = open_source(SourceConfig(name="s", path=str(images), exclude=("a/*",)))
    with pytest.raises(DataError, match="images, names_sha256 differ"):
        pack_source(fewer, packed, images_per_shard=4)
    other = tmp_path / "other"
    other.mkdir()
    (other / "x.tar").write_bytes(b"")
    with pytest.raises(DataError, match="not packed here"):
        pack_source(source, other)


def test_unreadable_images_are_left_out_and_listed(images: Path, tmp_path: Path) -> None:
    listing = tmp_path / "l.txt"
    (images / "empty.jpg").write_bytes(b"")
    listing.write_text("a/00.jpg\ngone.jpg\nempty.jpg\na/00.jpg\n")
    source = open_source(SourceConfig(name="s", path=str(listing), root=str(images)))
    skipped = pack_source(source, tmp_path / "q")
    assert [name for name, _ in skipped] == ["empty.jpg", "gone.jpg"]
    again = shards_at(tmp_path / "q")
    assert len(again) == 2 and again.read(0) == again.read(1)  # a list may hold an image twice


def test_names_with_dots_and_shared_stems_survive(tmp_path: Path) -> None:
    names = ["v1.2/img.left.jpg", "v1.2/same.jpg", "v1.2/same.png", "v1.2/same.png.jpg"]
    write_pictures(tmp_path / "i", names)
    plain = open_source(SourceConfig(name="s", path=str(tmp_path / "i")))
    pack_source(plain, tmp_path / "q")
    source = shards_at(tmp_path / "q")
    assert [source.read(n) for n in range(4)] == [plain.read(n) for n in range(4)]
    assert source.name_of(0) == names[0]


def test_samples_with_several_members(tmp_path: Path) -> None:
    depth = np.arange(12, dtype=np.uint16).reshape(3, 4)
    samples = [
        (f"room/{n}", {"depth.png": encoded(depth + n, "PNG"), "jpg": encoded(picture(n)), "json": b"{}"})
        for n in range(3)
    ]
    write_shard(tmp_path / "w-0.tar", samples[:2])
    write_shard(tmp_path / "w-1.tar", samples[2:])
    write_index(tmp_path)
    source = shards_at(tmp_path)
    assert source.name_of(2) == "room/2.jpg" and source.read(2) == samples[2][1]["jpg"]
    assert source.members_of(0) == ["depth.png", "jpg", "json"]
    np.testing.assert_array_equal(decode_map(source.read_member(1, "depth.png")), depth + 1)
    with pytest.raises(
        DataError, match=r"room/1\.jpg in .*w-0\.tar: no member 'labels\.png'; there are depth"
    ):
        source.read_member(1, "labels.png")
    with pytest.raises(DataError, match=r"'a\.b' is empty, has a dot"):
        write_shard(tmp_path / "x.tar", [("a.b", {"jpg": b""})])
    with pytest.raises(DataError, match="is used twice"):
        write_shard(tmp_path / "x.tar", [("a", {"jpg": b""}), ("a", {"jpg": b""})])
    assert not list(tmp_path.glob("x.tar*"))


def test_damage_is_noticed_when_read_and_when_verified(packed: Path) -> None:
    source = shards_at(packed)
    shard = packed / "shard-000001.tar"
    place = source._table.value("offset", 5)[0]
    data = bytearray(shard.read_bytes())
    data[place + 40] ^= 1
    shard.write_bytes(bytes(data))
    source = shards_at(packed)
    source.read(4)
    with pytest.raises(DataError, match=r"b/00\.jpg in .*shard-000001\.tar: damaged shard: the checksum"):
        source.read(5)
    with pytest.raises(DataError, match="damaged: its SHA-256"):
        verify_shard(shard)
    assert len(verify_shard(packed / "shard-000000.tar").samples) == 4


def test_truncated_and_missing_shards_are_named_at_once(packed: Path) -> None:
    shard = packed / "shard-000001.tar"
    shard.write_bytes(shard.read_bytes()[:-10240])
    with pytest.raises(DataError, match=r"shard-000001\.tar: damaged: \d+ bytes where \d+ were written"):
        shards_at(packed)
    assert read_record(shard) is None
    with pytest.raises(DataError, match="unfinished"):
        verify_shard(shard)
    shard.unlink()
    with pytest.raises(DataError, match=r"1 of 4 shards are missing, first 'shard-000001\.tar'"):
        shards_at(packed)


def test_foreign_shards_are_read_from_their_headers_or_hashed(images: Path, tmp_path: Path) -> None:
    folder = tmp_path / "foreign"
    folder.mkdir()
    with tarfile.open(folder / "web-0.tar", "w", format=tarfile.GNU_FORMAT) as tar:
        for name in (NAMES[0], NAMES[7]):
            tar.add(images / name, arcname=f"./{name.replace('/', '_')}")
    source = shards_at(folder)
    assert [source.name_of(n) for n in range(2)] == ["a_00.jpg", "b_02.jpg"]
    assert source.read(1) == (images / NAMES[7]).read_bytes()
    assert not (folder / "index.parquet").exists()
    record_shards(folder)
    assert len(verify_shard(folder / "web-0.tar").samples) == 2
    assert shards_at(folder).read(1) == (images / NAMES[7]).read_bytes()
    (folder / "broken.tar").write_bytes(b"\0" * 100 + b"x" * 1000)
    with pytest.raises(DataError, match=r"broken\.tar: not a whole tar file"):
        record_shards(folder)


def test_index_with_missing_values_is_refused(packed: Path) -> None:
    table = pq.read_table(packed / "index.parquet")
    broken = table.to_pylist()
    broken[2]["offset"] = []
    pq.write_table(pa.Table.from_pylist(broken, schema=table.schema), packed / "index.parquet")
    with pytest.raises(DataError, match=r"index\.parquet: damaged index: values are missing"):
        shards_at(packed)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 255)), min_size=1, max_size=6), st.booleans()
)
def test_damaged_tars_and_records_give_data_errors(tmp_path_factory, edits, in_record) -> None:
    folder = tmp_path_factory.getbasetemp() / "fuzzed-shards"
    folder.mkdir(exist_ok=True)
    shard = folder / "x.tar"
    write_shard(shard, [(f"k{n}", {"jpg": b"abc" * n, "json": b"{}"}) for n in range(4)])
    target = folder / "x.tar.json" if in_record else shard
    data = bytearray(target.read_bytes())
    for place, value in edits:
        data[place % len(data)] = value
    target.write_bytes(bytes(data))
    if not in_record:
        target.with_name("x.tar.json").unlink()
    message = "x.tar"
    try:
        source = shards_at(folder)
        for index in range(len(source)):
            source.name_of(index)
            source.read(index)
    except CodistillError as error:
        message = str(error)
    assert "x.tar" in message or "fuzzed-shards" in message


def test_record_is_plain_json(packed: Path) -> None:
    plain = json.loads((packed / "shard-000000.tar.json").read_text())
    assert plain["format"] == 1 and plain["samples"][0][0] == "a/00"
    scanned = scan_shard(packed / "shard-000000.tar", hashed=True)
    assert scanned == read_record(packed / "shard-000000.tar")


def test_a_full_disk_and_a_folder_that_cannot_be_written_are_named(images: Path, tmp_path: Path) -> None:
    """A file-size limit of the operating system stands in for a full disk: the write itself fails."""
    source = open_source(SourceConfig(name="s", path=str(images)))
    out = tmp_path / "p"
    pack_source(source, out, images_per_shard=4)
    (out / "shard-000002.tar").unlink()
    whole = {path.name: path.read_bytes() for path in out.iterdir()}
    script = (
        "import resource, sys; from codistill.cli import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000)); sys.exit(main(sys.argv[1:]))"
    )
    arguments = ["index", "x", "--root", str(images), "--pack", "--images-per-shard", "4", "--out", str(out)]
    code, _, said = forked.run(["-c", script, *arguments])
    assert code == 2 and "Traceback" not in said
    assert re.search(r"shard-000002\.tar: cannot be written \(File too large; [\d.]+ GiB are free", said)
    assert "same command again" in said
    assert {path.name: path.read_bytes() for path in out.iterdir()} == whole
    pack_source(source, out, images_per_shard=4)
    assert verify_shard(out / "shard-000002.tar")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file/p: cannot be written \(Not a directory"):
        pack_source(source, tmp_path / "file" / "p")
    with pytest.raises(DataError, match=r"m\.parquet: cannot be written"):
        write_manifest(table_of_paths(["a.jpg"]), tmp_path / "file" / "m.parquet", str(tmp_path))


@pytest.mark.slow
def test_fifty_kills_while_packing_change_nothing(tmp_path: Path) -> None:
    for n in range(1000):
        path = tmp_path / "i" / str(n // 100) / f"{n:04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(picture(n % 7)) + bytes([n % 256]) * 20_000)
    packing_chaos.pack(tmp_path / "i", tmp_path / "whole")
    command = [sys.executable, packing_chaos.__file__, str(tmp_path / "i"), str(tmp_path / "hurt"), "50"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0 and "50 kills" in done.stdout, done.stdout + done.stderr
    wanted = {path.name: path.read_bytes() for path in (tmp_path / "whole").iterdir()}
    for folder in (tmp_path / "hurt").iterdir():
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == wanted


def test_images_that_change_after_packing_are_packed_again(images: Path, packed: Path, caplog) -> None:
    source = open_source(SourceConfig(name="s", path=str(images)))
    kept = (packed / "shard-000001.tar").stat().st_mtime_ns
    data = bytearray((images / NAMES[0]).read_bytes())
    data[-3] ^= 1
    (images / NAMES[0]).write_bytes(bytes(data))
    pack_source(source, packed, images_per_shard=4)
    assert shards_at(packed).read(0) == bytes(data)
    assert "shard-000000.tar: images 0 to 3 have changed since" in caplog.text
    assert (packed / "shard-000001.tar").stat().st_mtime_ns == kept
    plain = json.loads((packed / "shard-000000.tar.json").read_text())
    del plain["source_sha256"]  # by a version that did not keep it
    (packed / "shard-000000.tar.json").write_text(json.dumps(plain))
    pack_source(source, packed, images_per_shard=4)
    assert shards_at(packed).read(0) == bytes(data)


def test_images_without_an_image_suffix_are_left_out_and_listed(tmp_path: Path) -> None:
    for name in ("a", "in/b.jpg", "c.dat"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(encoded(picture()))
    (tmp_path / "l.txt").write_text("a\nin/b.jpg\nc.dat\n")
    skipped = pack_source(open_source(SourceConfig(name="s", path=str(tmp_path / "l.txt"))), tmp_path / "q")
    assert [name for name, _ in skipped] == ["a", "c.dat"] and len(shards_at(tmp_path / "q")) == 1


def test_shards_without_samples_are_fine_among_others(images: Path, tmp_path: Path) -> None:
    folder = tmp_path / "web"
    folder.mkdir()
    for name in ("a", "b", "c"):
        with tarfile.open(folder / f"{name}.tar", "w") as tar:
            if name == "b":
                tar.add(images / NAMES[0], "x.jpg")
    assert shards_at(folder).name_of(0) == "x.jpg" and len(shards_at(folder)) == 1
    record_shards(folder)
    assert len(shards_at(folder)) == 1
    (folder / "b.tar").unlink()
    for path in folder.glob("*.parquet"):
        path.unlink()
    with pytest.raises(DataError, match=r"0 images found in .*web \(shards\)"):
        shards_at(folder)

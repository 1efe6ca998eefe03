"""Folders, lists and manifests: what is found, in which order, and what is said when it is not."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_pictures import encoded, picture, write_pictures, write_tar

from codistill.data import SourceConfig, open_source
from codistill.data.manifest import open_manifest, write_manifest
from codistill.data.names import table_of_paths
from codistill.data.source import Source
from codistill.errors import CodistillError, ConfigError, DataError

NAMES = ["b.jpg", "a/2.png", "a/10.JPG", "a/deep/x.closeup.jpg", "c d/ä.jpg"]


def names_of(source: Source) -> list[str]:
    return [source.name_of(index) for index in range(len(source))]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "images"
    write_pictures(root, NAMES)
    (root / "notes.txt").write_text("not an image")
    (root / ".hidden.jpg").write_bytes(b"x")
    (root / "a" / "2.depth.exr").write_bytes(b"depth")
    return root


def test_folder_is_scanned_in_a_fixed_order(folder: Path) -> None:
    source = open_source(SourceConfig(name="s", path=str(folder)))
    assert names_of(source) == ["b.jpg", "a/10.JPG", "a/2.png", "a/deep/x.closeup.jpg", "c d/ä.jpg"]
    assert source.read(2) == (folder / "a/2.png").read_bytes()
    assert source.read_member(2, "depth.exr") == b"depth"
    with pytest.raises(IndexError, match="image 5 of 5 in source 's'"):
        source.name_of(5)
    copy = pickle.loads(pickle.dumps(source))
    assert names_of(copy) == names_of(source)


def test_links_are_followed_but_not_in_circles(folder: Path, tmp_path: Path) -> None:
    write_pictures(tmp_path / "elsewhere", ["z.jpg"])
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    (folder / "a" / "circle").symlink_to(folder)
    names = names_of(open_source(SourceConfig(name="s", path=str(folder))))
    assert "link/z.jpg" in names and len(names) == 6


def test_include_and_exclude_are_globs_on_the_relative_path(folder: Path) -> None:
    def chosen(**patterns: tuple[str, ...]) -> list[str]:
        return names_of(open_source(SourceConfig(name="s", path=str(folder), **patterns)))

    assert chosen(include=("a/*",)) == ["a/10.JPG", "a/2.png", "a/deep/x.closeup.jpg"]
    assert chosen(include=("a/*", "b*"), exclude=("*.png",)) == ["b.jpg", "a/10.JPG", "a/deep/x.closeup.jpg"]
    assert chosen(exclude=("a/[0-9]*", "*ä*")) == ["b.jpg", "a/deep/x.closeup.jpg"]
    with pytest.raises(DataError, match=r"0 images that pass include and exclude found in .*images"):
        chosen(include=("nothing/*",))
    with pytest.raises(ConfigError, match="Did you mean '@imagenet1k'"):
        chosen(exclude=("@imagenet",))


def test_imagenet_classes_are_excluded_as_folders(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["n01440764/a.jpg", "n02391617/b.jpg", "n01440764.jpg"])
    source = open_source(SourceConfig(name="in19k", path=str(tmp_path), exclude=("@imagenet1k",)))
    assert names_of(source) == ["n01440764.jpg", "n02391617/b.jpg"]


def test_closeups_are_turned_clockwise(folder: Path) -> None:
    source = open_source(SourceConfig(name="bedlam", path=str(folder), rotation="closeup"))
    assert [source.rotated(index) for index in range(5)] == [False, False, False, True, False]
    turned = source.load_rgb(3)
    plain = open_source(SourceConfig(name="s", path=str(folder))).load_rgb(3)
    assert turned.shape == (80, 60, 3)
    np.testing.assert_array_equal(turned[0, -1], plain[0, 0])  # the top left corner goes to the top right
    np.testing.assert_array_equal(turned[-1, -1], plain[0, -1])


def test_list_keeps_its_order_and_its_root(folder: Path, tmp_path: Path) -> None:
    listing = tmp_path / "train.txt"
    listing.write_text("# comment\n\na/2.png\nb.jpg\na/2.png\n", encoding="utf-8")
    source = open_source(SourceConfig(name="s", path=str(listing), root=str(folder)))
    assert names_of(source) == ["a/2.png", "b.jpg", "a/2.png"]
    assert source.read(1) == (folder / "b.jpg").read_bytes()
    beside = folder / "val.txt"
    beside.write_text("b.jpg\n")
    assert open_source(SourceConfig(name="s", path=str(folder / "val"))).read(0) == source.read(1)
    beside.write_text("gone.jpg\n")
    gone = open_source(SourceConfig(name="s", path=str(beside)))
    with pytest.raises(DataError, match="no such file"):
        gone.read(0)
    beside.write_bytes(b"\xff\xfe\x00rubbish")
    with pytest.raises(DataError, match="not a text list"):
        open_source(SourceConfig(name="s", path=str(beside)))


def test_manifest_round_trip_and_moving(folder: Path, tmp_path: Path) -> None:
    names = sorted(NAMES)
    write_manifest(table_of_paths(names), folder / "manifest.parquet", str(folder))
    source = open_source(SourceConfig(name="s", path=str(folder)))  # found inside the folder
    assert names_of(source) == names
    assert (folder / "manifest.parquet.arrow").exists()
    moved = tmp_path / "moved"
    folder.rename(moved)
    again = open_source(SourceConfig(name="s", path=str(moved), exclude=("a/*",)))
    assert names_of(again) == ["b.jpg", "c d/ä.jpg"]
    assert again.read(0) == (moved / "b.jpg").read_bytes()
    copy = pickle.loads(pickle.dumps(again))
    assert names_of(copy) == names_of(again)


def test_manifest_is_mapped_again_when_it_changes(folder: Path) -> None:
    path = folder / "manifest.parquet"
    write_manifest(table_of_paths(["b.jpg"]), path, str(folder))
    assert len(open_source(SourceConfig(name="s", path=str(path)))) == 1
    write_manifest(table_of_paths(["b.jpg", "a/2.png"]), path, str(folder))
    assert len(open_source(SourceConfig(name="s", path=str(path)))) == 2
    (folder / "manifest.parquet.arrow").write_bytes(b"rubbish")
    assert len(open_source(SourceConfig(name="s", path=str(path)))) == 2


def test_manifest_in_a_folder_that_cannot_be_written_uses_the_cache(folder: Path, own_cache: Path) -> None:
    path = folder / "manifest.parquet"
    write_manifest(table_of_paths(["b.jpg"]), path, str(folder))
    (folder / "manifest.parquet.arrow").mkdir()  # nothing can be renamed to this name
    assert len(open_source(SourceConfig(name="s", path=str(path)))) == 1
    assert len(list((own_cache / "tables").glob("*.arrow"))) == 1
    assert not list(folder.glob(".tmp-*"))


def test_manifests_of_other_makers(folder: Path) -> None:
    path = folder / "other.parquet"
    pq.write_table(pa.table({"path": ["b.jpg", "a/2.png"], "label": [1, 2]}), path)
    assert names_of(open_source(SourceConfig(name="s", path=str(path)))) == ["b.jpg", "a/2.png"]
    pq.write_table(pa.table({"folder": ["a", ""], "file": ["2.png", "b.jpg"]}), path)
    assert names_of(open_source(SourceConfig(name="s", path=str(path)))) == ["a/2.png", "b.jpg"]
    pq.write_table(pa.table({"file_name": ["b.jpg"]}), path)
    with pytest.raises(DataError, match="or 'path'; this has file_name"):
        open_source(SourceConfig(name="s", path=str(path)))
    pq.write_table(pa.table({"path": ["b.jpg", None]}), path)
    with pytest.raises(DataError, match="some rows have no path"):
        open_source(SourceConfig(name="s", path=str(path)))
    pq.write_table(pa.table({"path": [1, 2]}), path)
    with pytest.raises(DataError, match="text"):
        open_source(SourceConfig(name="s", path=str(path)))


def test_what_is_missing_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"nothing at .*/gone or .*/gone\.parquet or .*/gone\.txt"):
        open_source(SourceConfig(name="s", path=str(folder / "gone")))
    with pytest.raises(DataError, match=r"5 images found in .*images \(folder\), 9 are expected"):
        open_source(SourceConfig(name="s", path=str(folder), expected=9))
    monkeypatch.delenv("CODISTILL_DATA", raising=False)
    with pytest.raises(DataError, match="variable that is not set"):
        open_source(SourceConfig(name="s", path="$CODISTILL_DATA/in1k"))
    with pytest.raises(DataError, match="is a file; kind 'folder' needs a folder"):
        open_source(SourceConfig(name="s", path=str(folder / "b.jpg"), kind="folder"))
    monkeypatch.setenv("CODISTILL_DATA", str(folder.parent))
    assert len(open_source(SourceConfig(name="s", path="$CODISTILL_DATA/images"))) == 5


def test_wrong_configs() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'manifest'"):
        SourceConfig(name="s", path="x", kind="manifests")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="Did you mean 'closeup'"):
        SourceConfig(name="s", path="x", rotation="close-up")
    with pytest.raises(ConfigError, match="include and exclude are lists"):
        SourceConfig(name="s", path="x", include="*.jpg")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="needs a domain"):
        SourceConfig(name="s", path="x", domain="")


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=8), st.booleans()
)
def test_damaged_manifests_give_data_errors(tmp_path_factory, edits, cut) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.parquet"
    write_manifest(table_of_paths([f"{n % 7}/{n}.jpg" for n in range(50)]), path, str(path.parent))
    data = bytearray(path.read_bytes())
    for place, value in edits:
        data[-1 - place % len(data)] = value
    path.write_bytes(bytes(data[: len(data) - edits[0][0] % 200] if cut else data))
    message = "damaged.parquet"
    try:
        table, _ = open_manifest(path)
        assert all(isinstance(table.value("file", row), str) for row in range(len(table)))
    except CodistillError as error:
        message = str(error)
    assert "damaged.parquet" in message


def test_unreadable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(encoded(picture()))
    name = os.fsdecode(b"\xff\xfe.jpg")
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataError, match="not UTF-8; rename it"):
        open_source(SourceConfig(name="s", path=str(tmp_path)))


READER = """
import sys, time
from codistill.data import SourceConfig, open_source

def kilobytes(what, file="status"):
    return next(int(line.split()[1]) for line in open(f"/proc/self/{file}") if line.startswith(what))

start = time.perf_counter()
source = open_source(SourceConfig(name="s", path=sys.argv[1]))
opened, resident = time.perf_counter() - start, kilobytes("VmRSS")
names = [source.name_of(n * 19997 % len(source)) for n in range(100_000)]
print(len(source), opened, resident, kilobytes("RssAnon"), kilobytes("VmRSS"), names[1], flush=True)
sys.stdin.readline()
print(kilobytes("Pss:", "smaps_rollup"), flush=True)
sys.stdin.readline()
"""


@pytest.mark.slow
def test_twenty_million_rows_open_at_once_and_are_shared(tmp_path: Path) -> None:
    """20 M rows: under 5 s and 1 GB a process once indexed; four processes hold the table once, together."""
    path = tmp_path / "huge.parquet"
    rows = 20_000_000
    write_manifest(
        table_of_paths(f"n{n // 1000:08d}/n{n // 1000:08d}_{n % 1000:05d}.JPEG" for n in range(rows)),
        path,
        "/data",
    )
    open_manifest(path)
    mapped = (tmp_path / "huge.parquet.arrow").stat().st_size / 1024
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", READER, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    said = [reader.stdout.readline().split() for reader in readers]
    shares = []
    for reader in readers:  # all have read by now: what they share counts for each by its share
        reader.stdin.write("\n")
        reader.stdin.flush()
        shares.append(int(reader.stdout.readline()))
    for reader in readers:
        reader.communicate("\n")
    print(f"map {mapped / 1024:.0f} MiB", said, [f"{share / 1024:.0f} MiB" for share in shares])
    for count, seconds, opened, private, everything, name in said:
        assert int(count) == rows and name == "n00000019/n00000019_00997.JPEG"
        assert float(seconds) < 5
        assert int(opened) < 1_000_000  # kilobytes, PyTorch included
        # After reads all over it the whole map may be resident, but its pages are the page cache's.
        assert int(private) < 500_000 and int(everything) < 1_500_000
    alone = sum(int(everything) for *_, everything, _ in said)
    assert sum(shares) < alone - 2 * mapped


@pytest.mark.parametrize(
    "name",
    [
        "../up",
        "a/b",
        "/abs",
        "..",
        ".hidden",
        "-x",
        "a\\b",
        "a\nb",
        "a:b",
        " a",
        "a\0",
        "x" * 101,
        "*",
        "all",
    ],
)
def test_names_of_sources_can_stand_in_names_of_metrics_and_files(name: str) -> None:
    with pytest.raises(ConfigError, match=r"the source's name|a source cannot be called 'all'"):
        SourceConfig(name=name, path="x")


@pytest.mark.parametrize("name", ["photos", "in1k val", "Ä.b-c_d", "all photos", "3d", "写真"])
def test_ordinary_names_are_taken(name: str) -> None:
    assert SourceConfig(name=name, path="x").name == name


def test_the_current_folder_is_a_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder / "a")
    for path, count in ((".", 3), ("..", 5), ("./", 3), ("../a/.", 3)):
        assert len(open_source(SourceConfig(name="s", path=path))) == count


def test_leftovers_of_systems_are_no_images(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "._b.jpg").write_bytes(b"\0\x05\x16\x07")
    write_pictures(
        folder, [".ipynb_checkpoints/b-checkpoint.jpg", "__MACOSX/b.jpg", "a/@eaDir/b.jpg", "B.TIFF"]
    )
    os.mkfifo(folder / "pipe.jpg")
    source = open_source(SourceConfig(name="s", path=str(folder)))
    assert names_of(source) == ["B.TIFF", "b.jpg", "a/10.JPG", "a/2.png", "a/deep/x.closeup.jpg", "c d/ä.jpg"]
    assert "source 's'" in caplog.text and "2 hidden files (first: ._b.jpg)" in caplog.text
    assert "3 hidden folders or folders of other programs" in caplog.text and "pipe.jpg" in caplog.text


def test_tars_are_found_wherever_they_lie_and_compressed_ones_are_named(tmp_path: Path) -> None:
    image = encoded(picture())
    for name in ("deep/er/a.TAR", "b.tar"):
        (tmp_path / "t" / name).parent.mkdir(parents=True, exist_ok=True)
        write_tar(tmp_path / "t" / name, [("x.jpg", image)])
    assert len(open_source(SourceConfig(name="s", path=str(tmp_path / "t")))) == 2
    with pytest.raises(DataError, match=r"b\.tar is one file; give its folder"):
        open_source(SourceConfig(name="s", path=str(tmp_path / "t" / "b.tar")))
    (tmp_path / "z" / "deep").mkdir(parents=True)
    (tmp_path / "z" / "deep" / "a.tar.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(
        DataError, match=r"0 images .*Passed over: 1 archives, which are not opened \(first: deep/a"
    ):
        open_source(SourceConfig(name="s", path=str(tmp_path / "z")))
    with pytest.raises(DataError, match=r"no \.tar files here \(compressed ones have to be unpacked"):
        open_source(SourceConfig(name="s", path=str(tmp_path / "z"), kind="shards"))


def test_an_empty_source_is_not_talked_into_being_taken(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="0 images found") as error:
        open_source(SourceConfig(name="s", path=str(tmp_path), expected=5))
    assert "expected=0" not in str(error.value) and "names that end in .jpg" in str(error.value)

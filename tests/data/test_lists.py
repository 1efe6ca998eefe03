"""Text lists as people and programs write them, and names that stay below their root."""

import logging
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codistill.data import SourceConfig, open_source
from codistill.data.lists import read_list
from codistill.data.rooted import relative_name
from codistill.errors import DataError

FILES = [
    "a.jpg",
    "my photo (1).JPG",
    "#1.jpg",
    "in/b.png",
    "in/tab\tname.jpg",
    "no suffix",
    "a.jpg,b.jpg 7",
    "back\\slash.jpg",
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_bytes(name.encode())
    return tmp_path / "data"


def listed(root: Path, text: str | bytes) -> list[str]:
    path = root / "list.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_list(path, str(root))


def test_a_file_as_it_stands_is_that_file(root: Path) -> None:
    assert listed(root, "\n".join(FILES)) == FILES


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("  a.jpg \t", "a.jpg"),
        ("\ufeffa.jpg\r", "a.jpg"),
        ('"my photo (1).JPG"', "my photo (1).JPG"),
        ("'a.jpg'", "a.jpg"),
        ("./in//b.png", "in/b.png"),
        ("in/../a.jpg", "a.jpg"),
        (".\\in\\b.png", "in/b.png"),
        ("./#1.jpg", "#1.jpg"),
        ("a.jpg\t3", "a.jpg"),
        ("in/b.png 3", "in/b.png"),
        ("in/b.png,cat,1", "in/b.png"),
        ('"my photo (1).JPG"; 2', "my photo (1).JPG"),
        ("a.jpg  # the first", "a.jpg"),
        ("gone/ä 1:2.jpg", "gone/ä 1:2.jpg"),
        ("gone.jpg", "gone.jpg"),
        ("gone", "gone"),
    ],
)
def test_odd_lines(root: Path, line: str, name: str) -> None:
    assert listed(root, f"\n# comment\n\n{line}\n  \n#a.jpg") == [name]


@pytest.mark.parametrize(
    "line",
    [
        "/etc/hostname",
        "../other.jpg",
        "in/../../x.jpg",
        "..\\x.jpg",
        "C:\\x.jpg",
        "https://x.org/a.jpg",
        "in/",
        "a.jpg\tb.jpg",
    ],
)
def test_lines_that_name_no_file_below_the_root_are_refused(root: Path, line: str) -> None:
    with pytest.raises(DataError, match=r"list\.txt, line 2: '"):
        listed(root, f"a.jpg\n{line}\n")


def test_absolute_paths_need_a_root_that_holds_them(root: Path) -> None:
    assert listed(root, f"{root}/a.jpg\n{root}/in/../in/b.png\n") == ["a.jpg", "in/b.png"]
    away = root.parent / "away.txt"
    away.write_text(f"{root}/a.jpg\n")
    with pytest.raises(DataError, match=r"lies outside of the root .*nowhere.*root=DIR"):
        open_source(SourceConfig(name="s", path=str(away), root=str(root.parent / "nowhere")))
    source = open_source(SourceConfig(name="s", path=str(away), root="/"))
    assert source.read(0) == b"a.jpg" and source.name_of(0) == f"{root}/a.jpg"[1:]


def test_further_columns_and_images_listed_twice_are_said(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="codistill")
    assert listed(root, "a.jpg 1\nin/b.png 2\na.jpg\n") == ["a.jpg", "in/b.png", "a.jpg"]
    assert "2 lines have further columns after the path, which are not used (first: " in caplog.text
    assert "1 of 3 lines name an image that is listed before; it counts each time" in caplog.text


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from(["..", ".", "a", "b.jpg", "", "..."]), min_size=1, max_size=7))
def test_no_name_leads_out_of_its_root(parts: list[str]) -> None:
    name = "/".join(parts)
    inside = relative_name(name, "/r/s")
    walked: list[str] = []
    for part in (Path("/r/s") / name).as_posix().split("/"):  # what the operating system does, without links
        walked = walked[:-1] if part == ".." else walked + ([part] if part not in ("", ".") else [])
    if inside is not None:
        assert walked[:2] == ["r", "s"]
    elif not name.startswith("/"):
        assert walked[:2] != ["r", "s"]


@pytest.mark.parametrize("name", ["../secret.png", "/etc/hostname", "in/../../secret.png"])
def test_manifests_name_files_below_their_root(root: Path, name: str) -> None:
    (root.parent / "secret.png").write_bytes(b"secret")
    folder, _, file = name.rpartition("/")
    for columns in ({"path": ["a.jpg", name]}, {"folder": ["", folder or "/"], "file": ["a.jpg", file]}):
        path = root / "m.parquet"
        pq.write_table(pa.table(columns), path)
        with pytest.raises(DataError, match=r"m\.parquet: '.*' lies outside of the root"):
            open_source(SourceConfig(name="s", path=str(path)))
    pq.write_table(pa.table({"path": [f"{root}/a.jpg", "in/../a.jpg"]}), path)
    source = open_source(SourceConfig(name="s", path=str(path)))
    assert [source.read(n) for n in range(2)] == [b"a.jpg", b"a.jpg"] and source.name_of(0) == "a.jpg"


def test_a_side_file_that_names_something_else_reads_nothing_outside(root: Path) -> None:
    """The mapped table beside a manifest may come with it."""
    path = root / "m.parquet"
    pq.write_table(pa.table({"path": ["in/b.png"]}), path)
    open_source(SourceConfig(name="s", path=str(path)))
    beside = path.with_name("m.parquet.arrow")
    table = pa.ipc.open_file(str(beside)).read_all()
    forged = pa.table({"folder": pa.array([".."]).dictionary_encode(), "file": ["secret.png"]})
    forged = forged.cast(pa.schema(list(table.schema))).replace_schema_metadata(table.schema.metadata)
    with pa.ipc.new_file(str(beside), forged.schema) as writer:
        writer.write_table(forged)
    source = open_source(SourceConfig(name="s", path=str(path)))
    with pytest.raises(DataError, match=r"'\.\./secret\.png' lies outside of the root"):
        source.read(0)

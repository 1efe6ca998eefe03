"""What a listing takes, passes over and says, and the lines of text files."""

import logging
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codistill.errors import DataError
from codistill.files.lines import read_lines
from codistill.files.listing import PassedOver, by_stem, list_files, list_folders, walk_files


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def test_suffixes_in_any_case_and_nothing_else(tmp_path: Path) -> None:
    touch(tmp_path, "b.JPG", "a.png", "c.Jpeg", "notes.txt", "jpg", "x/d.jpg", "x.jpg.part")
    assert [path.name for path in list_files(tmp_path, (".jpg", ".jpeg"))] == ["b.JPG", "c.Jpeg"]
    assert list(walk_files(tmp_path, (".jpg",), PassedOver())) == ["b.JPG", "x/d.jpg"]


def test_what_other_programs_and_systems_leave_is_passed_over_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="codistill")
    touch(tmp_path, "a.jpg", "._a.jpg", ".b.jpg", ".DS_Store", "more.tar.gz", "x/._c.jpg")
    touch(tmp_path, ".ipynb_checkpoints/a-checkpoint.jpg", "__MACOSX/._a.jpg", "x/@eaDir/a.jpg/THUMB.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    assert [path.name for path in list_files(tmp_path, deep=True)] == ["a.jpg"]
    said = caplog.messages[0]
    assert "3 hidden files (first: ._a.jpg)" in said
    assert "3 hidden folders or folders of other programs (first: .ipynb_checkpoints/)" in said
    assert "1 pipes, sockets or devices (first: pipe.jpg)" in said
    assert "2 links that lead nowhere (first: gone.jpg)" in said
    assert "1 archives, which are not opened (first: more.tar.gz)" in said
    list_files(tmp_path, deep=True)
    assert len(caplog.messages) == 1  # once
    assert [path.name for path in list_folders(tmp_path)] == ["x"]


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    touch(tmp_path, "data/a.jpg", "elsewhere/b.jpg")
    (tmp_path / "data" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "circle").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "c.jpg").symlink_to(tmp_path / "elsewhere" / "b.jpg")
    names = [path.relative_to(tmp_path).as_posix() for path in list_files(tmp_path / "data", deep=True)]
    assert names == ["data/a.jpg", "data/c.jpg", "data/link/b.jpg"]


def test_one_name_with_two_suffixes_is_asked_about(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "a.PNG", "b.jpg")
    with pytest.raises(DataError, match=r"a\.PNG and a\.jpg have one name"):
        by_stem(list_files(tmp_path))
    assert list(by_stem(list_files(tmp_path, (".jpg",)))) == ["a", "b"]
    with pytest.raises(DataError, match="gone: cannot be listed: No such file"):
        list_files(tmp_path / "gone")


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.lists(
        st.text(st.characters(exclude_characters="\n\r\0\ufeff", exclude_categories=["Cs"])), min_size=1
    ),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
    st.booleans(),
)
def test_lines_come_back_whatever_ends_and_begins_them(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], end: str, mark: bool, last: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "lines.txt"
    text = end.join([*lines, "last"]) + (end if last else "")
    path.write_bytes(("\ufeff" * mark + text).encode())
    assert read_lines(path) == [*lines, "last"]


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "l.txt"
    for data, reason in (("a\n".encode("utf-16"), "UTF-16"), (b"\xff", "UTF-8"), (b"a\0b\n", "zero bytes")):
        path.write_bytes(data)
        with pytest.raises(DataError, match=rf"l\.txt: not a text list.*{reason}"):
            read_lines(path)
    with pytest.raises(DataError, match="is a folder"):
        read_lines(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="no regular file"):
        read_lines(tmp_path / "pipe")
    path.write_bytes(b"a\rb\r")
    assert read_lines(path) == ["a", "b"]

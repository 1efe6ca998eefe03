"""Reading what others named: regular files of a bounded size; nothing that waits, does not end, or acts when opened."""

import os
import socket
import tempfile
from pathlib import Path

import pytest

from codistill.errors import DataError
from codistill.files.reading import read_regular


def test_a_regular_file_and_a_link_to_one(tmp_path: Path) -> None:
    data = os.urandom(100_000)
    (tmp_path / "file").write_bytes(data)
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "file") == read_regular(str(tmp_path / "link")) == data


def test_pipes_devices_and_links_to_them_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").symlink_to("a.jpg")
    for path, kind in (
        (tmp_path / "a.jpg", "pipe"),
        (tmp_path / "b.jpg", "pipe"),
        ("/dev/zero", "device"),
    ):
        with pytest.raises(DataError, match=kind):
            read_regular(path)


def test_sockets_are_refused() -> None:
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listening:
        path = Path(folder) / "a.jpg"
        listening.bind(str(path))
        with pytest.raises(DataError, match="socket"):
            read_regular(path)


def test_files_without_a_length_are_not_followed() -> None:
    """Of /proc: they are regular, have 0 bytes, and some never end."""
    assert read_regular("/proc/self/maps") == b""


def test_limit_missing_folder_and_loop(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 33)  # takes no space
    with pytest.raises(
        DataError, match=r"large: 8589934592 bytes are more than the 1073741824 that one file"
    ):
        read_regular(tmp_path / "large")
    with pytest.raises(DataError, match="no such file"):
        read_regular(tmp_path / "gone")
    with pytest.raises(DataError, match="is a folder; wanted one image file"):
        read_regular(tmp_path, what="image file")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(DataError, match="cannot be read"):
        read_regular(tmp_path / "loop")
    with pytest.raises(DataError, match="cannot be read"):
        read_regular("a\0b")

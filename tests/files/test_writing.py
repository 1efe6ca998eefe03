"""Whole files or none: what a failure leaves, what temporary names are, what the error says, how much room there is."""

import contextlib
import errno
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from codistill.errors import CheckpointError, ConfigError, DataError, WriteError
from codistill.files.disk import check_room, size_text
from codistill.files.npz import read_npz, write_npz
from codistill.files.places import cache_folder
from codistill.files.tensors import write_tensors
from codistill.files.writing import (
    atomically,
    check_writable,
    folder_atomically,
    make_directory,
    remove_leftovers,
    write_atomic,
    write_bytes,
)


def test_folders_are_made_and_nothing_else_stays(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a" / "b.txt", "ü\n")
    write_bytes(tmp_path / "a" / "c", b"\0")
    write_atomic(tmp_path / ("n" * 255), "")
    assert (tmp_path / "a" / "b.txt").read_bytes() == "ü\n".encode()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["b.txt", "c"]


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "shard.tar"
    path.write_text("old")
    with contextlib.suppress(KeyError), atomically(path) as temporary:
        temporary.write_text("half")
        assert path.read_text() == "old"
        assert sorted(tmp_path.glob("*.tar")) == [path]  # the temporary one is no shard
        raise KeyError
    assert [p.name for p in tmp_path.iterdir()] == ["shard.tar"] and path.read_text() == "old"


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    folder = tmp_path / "export"
    for text in ("one", "two"):
        with folder_atomically(folder) as building:
            (building / text).write_text(text)
            assert not (folder / text).exists()
    assert [p.name for p in tmp_path.iterdir()] == ["export"] and [p.name for p in folder.iterdir()] == [
        "two"
    ]
    with (
        pytest.raises(WriteError, match=r"export: cannot be written \(No space left"),
        folder_atomically(folder),
    ):
        raise OSError(28, "No space left on device")
    assert [p.name for p in folder.iterdir()] == ["two"] and len(list(tmp_path.iterdir())) == 1


def test_the_error_names_the_place_the_reason_and_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for path, said in (
        (
            tmp_path / "file" / "x",
            r"x: cannot be written \(.*\)\. .*/file is a file, where a folder is needed",
        ),
        (
            tmp_path / "folder",
            r"folder: cannot be written \(Is a directory\)\. .*/folder is a folder: name a file",
        ),
        (tmp_path / ("n" * 300), r"\(File name too long\)\. Name another folder"),
    ):
        with pytest.raises(WriteError, match=said) as found:
            write_atomic(path, "")
        assert isinstance(found.value, DataError) and isinstance(found.value, CheckpointError)


def test_only_a_full_disk_is_answered_by_freeing_space(tmp_path: Path) -> None:
    for number, said in ((errno.ENOSPC, "Free some space"), (errno.ENOENT, r"\(No such.*y\)\. Name another")):
        with pytest.raises(WriteError, match=said), atomically(tmp_path / "x"):
            raise OSError(number, os.strerror(number))


def test_a_folder_is_tried_before_anything_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_writable(tmp_path / "new" / "folder")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file is a file"):
        check_writable(tmp_path / "file")

    def mkdir(path: Path, *_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", mkdir)
    with pytest.raises(WriteError, match="does not let you write there"):
        check_writable(tmp_path / "new")


def test_an_address_is_no_folder_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for write in (check_writable, make_directory, lambda path: write_atomic(path, "")):
        with pytest.raises(ConfigError, match=r"s3://bucket/run is an address.*Name a path"):
            write(Path("s3://bucket/run"))
    with pytest.raises(ConfigError, match="is an address"), folder_atomically(Path("s3://bucket/run")):
        pass
    assert not list(tmp_path.iterdir())


def test_a_write_within_a_folder_is_an_error_of_the_folder(tmp_path: Path) -> None:
    def write() -> None:
        with folder_atomically(tmp_path / "export") as building:
            (building / "a.json").mkdir()
            write_atomic(building / "a.json", "")

    with pytest.raises(WriteError, match=r"export: cannot be written \(Is a directory"):
        write()


def test_leftovers_of_killed_processes_are_removed(tmp_path: Path) -> None:
    for name in (".tmp-a.tar-7", ".tmp-b.tar-7", "c.tar"):
        (tmp_path / name).write_text("")
    remove_leftovers(tmp_path, "a.tar*")
    assert sorted(p.name for p in tmp_path.iterdir()) == [".tmp-b.tar-7", "c.tar"]
    remove_leftovers(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["c.tar"]


def test_tensors_and_arrays(tmp_path: Path) -> None:
    tied = torch.arange(6.0).reshape(2, 3)
    write_tensors(tmp_path / "t.safetensors", {"a": tied, "b": tied.T, "c": tied}, {"format": "x"})
    back = load_file(tmp_path / "t.safetensors")
    assert torch.equal(back["b"], tied.T) and torch.equal(back["c"], tied)
    assert (tmp_path / "t.safetensors").stat().st_mode & 0o777 == 0o644
    write_npz(tmp_path / "n.npz", {"x": np.arange(3), "names": np.array(["a", "ü"])})
    assert read_npz(tmp_path / "n.npz", ["names"])["names"].tolist() == ["a", "ü"]


def test_room_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "old").write_bytes(bytes(2**20))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**31))
    text = check_room("tokens", 2**30, tmp_path / "new", "Take less.")
    assert text == f"tokens need 1.0 GiB; 2.0 GiB are free in {tmp_path}"
    with pytest.raises(ConfigError, match=r"too little \(1\.0 GiB must stay free\)\. Take less\."):
        check_room("tokens", 2**30 + 1, tmp_path, "Take less.")
    check_room("tokens", 2**30 + 1, tmp_path, "Take less.", rewritten=True)
    assert [size_text(n) for n in (0, 1023, 1536, 2**20, 3 * 2**40)] == [
        "0 B",
        "1023 B",
        "1.5 KiB",
        "1.0 MiB",
        "3072.0 GiB",
    ]


def test_the_cache_folder_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CODISTILL_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == Path.home() / ".cache" / "codistill"
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_folder() == Path("/x/codistill")
    monkeypatch.setenv("CODISTILL_CACHE", "~/mine")
    assert cache_folder() == Path(os.path.expanduser("~/mine"))  # noqa: PTH111

"""Tars of other makers: what is found in them, and that a cut or damaged one is never taken for whole."""

import gzip
import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_pictures import write_tar

from codistill.data.shard_format import scan_shard
from codistill.data.tar_members import has_end, read_entries
from codistill.errors import DataError
from codistill.files.listing import PassedOver


def entries_of(path: Path) -> tuple[list[tuple[str, bytes]], PassedOver]:
    passed = PassedOver()
    whole = path.read_bytes()
    found = [(e.path, whole[e.offset : e.offset + e.size]) for e in read_entries(path, passed)]
    return found, passed


NAMES = st.text("aä b.#", min_size=1, max_size=120).map(lambda text: f"k{text}.jpg")
MEMBERS = st.lists(st.tuples(NAMES, st.binary(max_size=1500)), min_size=1, max_size=5)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    MEMBERS,
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    st.booleans(),
    st.lists(st.integers(0, 1 << 20), max_size=4),
)
def test_random_tars_are_read_whole_and_no_cut_is(
    tmp_path_factory: pytest.TempPathFactory, members: list, kind: int, hashed: bool, places: list[int]
) -> None:
    path = tmp_path_factory.getbasetemp() / "random.tar"
    whole = write_tar(path, members, kind)
    assert entries_of(path)[0] == members
    record = scan_shard(path, hashed=hashed)
    assert sum(len(files) for _, files in record.samples) == len(members)
    entries = list(read_entries(path, PassedOver()))
    end = entries[-1].offset + -(-entries[-1].size // 512) * 512  # where the end-of-archive blocks start
    starts = [entry.offset - 512 for entry in entries]
    for cut in {0, *starts, end, end + 512, end + 1023, *(place % end for place in places)}:
        path.write_bytes(whole[:cut])
        with pytest.raises(DataError, match=r"random\.tar: (cut short|not a whole tar)"):
            scan_shard(path, hashed=hashed)
    path.write_bytes(whole[: end + 1024])  # both blocks, without the padding to a record: whole
    assert scan_shard(path, hashed=hashed).samples == record.samples and has_end(path)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(MEMBERS, st.integers(0, 10_000), st.integers(0, 255))
def test_a_changed_byte_in_a_header_loses_no_file_silently(
    tmp_path_factory: pytest.TempPathFactory, members: list, place: int, value: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "changed.tar"
    data = bytearray(write_tar(path, members))
    starts = [e.offset - 512 for e in read_entries(path, PassedOver())]
    data[starts[place % len(starts)] + place % 512] = value
    path.write_bytes(bytes(data))
    try:
        found, passed = entries_of(path)
    except DataError:
        return
    assert len(found) + sum(count for count, _ in passed.kinds.values()) == len(members)


def test_data_behind_the_end_and_compressed_tars_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    one, two = (write_tar(path, [(f"{n}.jpg", b"x")]) for n in "ab")
    path.write_bytes(one + two)
    with pytest.raises(DataError, match="several tars in one file"):
        scan_shard(path, hashed=False)
    path.write_bytes(gzip.compress(one))
    with pytest.raises(DataError, match=r"but gzip, .* Unpack it"):
        scan_shard(path, hashed=True)
    with pytest.raises(DataError, match=r"[Nn]o such file"):
        scan_shard(tmp_path / "gone.tar", hashed=False)
    path.write_bytes(b"\0" * 10240)
    assert scan_shard(path, hashed=False).samples == ()


def test_what_is_no_file_of_the_shard_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    kinds = {"link.jpg": tarfile.SYMTYPE, "pipe.jpg": tarfile.FIFOTYPE, "folder": tarfile.DIRTYPE}
    with tarfile.open(path, "w") as tar:
        names = [
            "./a.jpg",
            "._a.jpg",
            "__MACOSX/._b.jpg",
            "x/.ipynb_checkpoints/a.jpg",
            "../out.jpg",
            "/root.jpg",
        ]
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 3
            tar.addfile(info, io.BytesIO(b"abc"))
        for name, kind in kinds.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "a.jpg"
            tar.addfile(info)
        same = tarfile.TarInfo("hard.jpg")
        same.type, same.linkname = tarfile.LNKTYPE, "./a.jpg"
        tar.addfile(same)
    found, passed = entries_of(path)
    assert found == [("a.jpg", b"abc"), ("root.jpg", b"abc"), ("hard.jpg", b"abc")]
    assert passed.kinds == {
        "hidden members or members of other programs": (3, "._a.jpg"),
        "members whose path leads out of the archive": (1, "../out.jpg"),
        "links, pipes or devices": (2, "link.jpg"),
    }


def test_a_path_that_comes_twice_is_two_samples(tmp_path: Path) -> None:
    members = [("a.jpg", b"1"), ("a.json", b"2"), ("b.jpg", b"3"), ("a.jpg", b"4"), ("a.json", b"5")]
    write_tar(tmp_path / "a.tar", members)
    samples = scan_shard(tmp_path / "a.tar", hashed=False).samples
    assert [(key, [member.name for member in files]) for key, files in samples] == [
        ("a", ["jpg", "json"]),
        ("b", ["jpg"]),
        ("a", ["jpg", "json"]),
    ]

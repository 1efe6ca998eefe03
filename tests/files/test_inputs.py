"""Tables of what rows are made from: what changed is found, named and survives the disk."""

import os
from pathlib import Path

import pytest

from codistill.files.inputs import Inputs, compare, content_part, fact, read_inputs, stamped, write_inputs


def folder(root: Path, names: str) -> list[Path]:
    root.mkdir(parents=True, exist_ok=True)
    for name in names:
        (root / name).write_text(name)
    return [root / name for name in names]


def inputs(paths: list[Path]) -> Inputs:
    return stamped((path, fact(f"label of {path.name}", path.name)) for path in paths)


def test_a_table_comes_back_from_the_disk(tmp_path: Path) -> None:
    made = stamped([(*folder(tmp_path / "a", "xy"), ("label", "3")), ()], (fact("classes", "cat", "dog"),))
    write_inputs(tmp_path / "inputs.parquet", made)
    assert read_inputs(tmp_path / "inputs.parquet") == made
    (tmp_path / "inputs.parquet").write_bytes(b"PAR1 cut")
    assert read_inputs(tmp_path / "inputs.parquet") is None
    assert read_inputs(tmp_path / "nothing") is None


@pytest.mark.parametrize("how", ["size", "time", "replaced"])
def test_a_changed_file_changes_its_rows_alone(tmp_path: Path, how: str) -> None:
    paths = folder(tmp_path, "abcdefg")
    before = inputs(paths)
    status = paths[2].stat()
    if how == "size":  # the time stays
        paths[2].write_text("longer")
        os.utime(paths[2], ns=(status.st_atime_ns, status.st_mtime_ns))
    elif how == "time":
        os.utime(paths[2], ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    else:
        (tmp_path / "new").write_text("C")
        os.replace(tmp_path / "new", paths[2])  # noqa: PTH105
    for by_place in (True, False):
        change = compare(before, inputs(paths), by_place=by_place)
        assert change.sources == (0, 1, -1, 3, 4, 5, 6)
        assert change.text == f"changed: {paths[2]}"


def test_rows_follow_where_their_place_means_nothing(tmp_path: Path) -> None:
    paths = folder(tmp_path, "abcd")
    before, after = inputs(paths), inputs([*folder(tmp_path, "z"), *paths[1:]])
    free = compare(before, after, by_place=False)
    assert free.sources == (-1, 1, 2, 3)
    assert f"new: {tmp_path / 'z'}" in free.text and f"gone: {tmp_path / 'a'}" in free.text
    shorter = compare(before, inputs(paths[1:]), by_place=False)
    assert shorter.sources == (1, 2, 3)
    assert compare(before, inputs(paths[1:]), by_place=True).sources == (-1, -1, -1)
    turned = compare(before, inputs(paths[::-1]), by_place=True)
    assert turned.text == "the order of the images"


def test_many_changes_are_counted_not_listed(tmp_path: Path) -> None:
    paths = folder(tmp_path, "abcdefgh")
    before = inputs(paths)
    for path in paths:
        path.write_text("other")
    assert compare(before, inputs(paths), by_place=True).text.endswith(f"{paths[2]} and 5 others")


def test_what_all_rows_share_changes_all_of_them(tmp_path: Path) -> None:
    listed = tmp_path / "classes.json"
    listed.write_text('["a"]')
    before = Inputs(((("x", ""),), (("y", ""),)), (content_part(listed),))
    os.utime(listed, ns=(1, 1))
    assert compare(before, Inputs(before.rows, (content_part(listed),)), by_place=True).text == ""
    listed.write_text('["b"]')
    change = compare(before, Inputs(before.rows, (content_part(listed),)), by_place=False)
    assert change.sources == (-1, -1) and change.text == f"changed: {listed}"


def test_a_link_to_another_version_of_a_folder_is_another_input(tmp_path: Path) -> None:
    for version in ("v1", "v2"):
        paths = folder(tmp_path / version, "ab")
        for path in paths:
            os.utime(path, ns=(5, 5))
    link = tmp_path / "data"
    link.symlink_to(tmp_path / "v1")
    before = inputs([link / "a", link / "b"])
    link.unlink()
    link.symlink_to(tmp_path / "v2")
    assert compare(before, inputs([link / "a", link / "b"]), by_place=False).sources == (-1, -1)

"""Stores of arrays never hold a row of a file that changed, and make no other row again."""

import errno
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codistill.errors import CheckpointError, ConfigError, DataError
from codistill.files.inputs import stamped
from codistill.tasks.shared.half import narrowed
from codistill.tasks.shared.inputs import content_hash, inputs_of
from codistill.tasks.shared.stored_arrays import ArrayStore, open_array


def content(path: Path) -> int:
    return int(path.read_text().split()[0])


def filled(folder: Path, paths: list[Path], *, passes: int, by_place: bool, stop: int | None = None):
    """The values of a store of the files' contents, and how many rows of it were made now."""
    files = {name: ((passes * len(paths), width), np.int64) for name, width in (("a.npy", 1), ("b.i64", 2))}
    said: list[str] = []
    store = ArrayStore(
        folder, {}, files, stamped((p,) for p in paths), passes=passes, by_place=by_place, say=said.append
    )
    made = 0
    for number, rows in list(store.groups(3)):
        if stop is not None and made >= stop:
            break
        at = number * len(paths) + np.array(rows)
        values = np.array([content(paths[row]) * 10 + number for row in rows])[:, None]
        for name, array in store.arrays().items():
            array[at] = values if name == "a.npy" else np.concatenate((values, -values), axis=1)
        store.wrote(number, rows, save_every=2)
        made += len(rows)
    if stop is not None:
        return None, made, said
    values = open_array(folder / "b.i64", *files["b.i64"], mode="r")
    assert np.array_equal(np.load(folder / "a.npy"), values[:, :1])
    return values[:, 0], made, said


EDITS = st.lists(
    st.tuples(st.sampled_from(["change", "remove", "add", "swap", "nothing"]), st.integers(0, 7)),
    min_size=1,
    max_size=4,
)


@settings(max_examples=30, deadline=None)
@given(
    edits=EDITS,
    passes=st.integers(1, 3),
    by_place=st.booleans(),
    stop=st.one_of(st.none(), st.integers(0, 9)),
)
def test_after_any_edit_a_store_is_as_if_it_were_new(
    edits: list[tuple[str, int]], passes: int, by_place: bool, stop: int | None
) -> None:
    with TemporaryDirectory() as name:
        root, counter = Path(name), 100
        paths = [root / f"{number}.txt" for number in range(6)]
        for number, path in enumerate(paths):
            path.write_text(f"{number}")
        # A store that depends on places has random passes in real life; here its values do not show it.
        filled(root / "store", paths, passes=passes, by_place=by_place, stop=stop)
        for what, at in edits:
            counter += 1
            at %= len(paths)
            if what == "change":
                paths[at].write_text(f"{counter}{' ' * counter}")  # another size
            elif what == "remove" and len(paths) > 2:
                paths.pop(at)
            elif what == "add":
                paths.insert(at, root / f"{counter}.txt")
                paths[at].write_text(f"{counter}")
            elif what == "swap":
                paths[at], paths[0] = paths[0], paths[at]
        values, made, said = filled(root / "store", paths, passes=passes, by_place=by_place)
        expected = [content(path) * 10 + number for number in range(passes) for path in paths]
        assert values is not None and values.tolist() == expected
        if all(what == "nothing" for what, _ in edits):
            assert not said and (made == 0 or stop is not None)
        assert filled(root / "store", paths, passes=passes, by_place=by_place)[1:] == (0, [])


def test_one_changed_file_of_many_is_made_again_alone_and_named(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.txt" for number in range(20)]
    for number, path in enumerate(paths):
        path.write_text(f"{number}")
    first, _, _ = filled(tmp_path / "store", paths, passes=2, by_place=True)
    assert first is not None
    before = np.array(first)
    paths[7].write_text("777")
    values, made, said = filled(tmp_path / "store", paths, passes=2, by_place=True)
    assert values is not None and values[7] == 7770 and values[27] == 7771 and made == 2
    assert len(said) == 1 and f"changed: {paths[7]}" in said[0] and "2 of 40 views" in said[0]
    assert np.array_equal(first, before)  # who was reading keeps what it read


def test_work_that_was_to_be_made_again_is_not_forgotten(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.txt" for number in range(9)]
    for path in paths:
        path.write_text("1")
    filled(tmp_path / "store", paths, passes=1, by_place=True)
    for path in paths:
        path.write_text("22")
    filled(tmp_path / "store", paths, passes=1, by_place=True, stop=3)  # interrupted
    values, made, _ = filled(tmp_path / "store", paths, passes=1, by_place=True)
    assert values is not None and set(values.tolist()) == {220} and made == 6


def test_a_lost_table_of_inputs_is_said_and_nothing_is_trusted(tmp_path: Path) -> None:
    (tmp_path / "0.txt").write_text("4")
    filled(tmp_path / "store", [tmp_path / "0.txt"], passes=1, by_place=True)
    (tmp_path / "store" / "inputs.parquet").write_bytes(b"")
    _, made, said = filled(tmp_path / "store", [tmp_path / "0.txt"], passes=1, by_place=True)
    assert made == 1 and "everything is made again" in said[0]


def test_another_key_is_refused_by_name(tmp_path: Path) -> None:
    files = {"a.i64": ((0, 1), np.int64)}
    ArrayStore(tmp_path, {"size": 3, "seed": 1}, files, stamped([]))
    with pytest.raises(ConfigError, match=r"something else \(different: size\)"):
        ArrayStore(tmp_path, {"size": 4, "seed": 1}, files, stamped([]))


class InMemory:
    """Data that does not say what it is made from."""

    def __init__(self, seed: int) -> None:
        self.values = np.random.default_rng(seed).normal(size=(3, 4))

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int):
        return {"x": torch.from_numpy(self.values[index]), "names": ("a", index)}


def test_data_without_files_is_told_by_its_samples() -> None:
    assert inputs_of(InMemory(0)) == inputs_of(InMemory(0))
    other = InMemory(0)
    other.values[1, 2] += 1e-9
    changed = [a != b for a, b in zip(inputs_of(InMemory(0)).rows, inputs_of(other).rows, strict=True)]
    assert changed == [False, True, False]
    assert content_hash(np.zeros((2, 3))) != content_hash(np.zeros((3, 2)))


def test_numbers_beyond_fp16_are_refused() -> None:
    assert narrowed(torch.tensor([1.5]), "a", "").dtype == np.float16
    for value in (1e6, float("nan")):
        with pytest.raises(DataError, match=r"features of a\.png and others are too large for fp16\. Take"):
            narrowed(torch.tensor([value]), "a.png", "Take another.")


@pytest.mark.parametrize("name", ["a.f16", "a.npy"])
def test_the_space_of_an_array_is_taken_before_it_is_written(tmp_path: Path, monkeypatch, name: str) -> None:
    """Otherwise a disk that fills up kills the process with SIGBUS."""
    size = (1000, 1000)
    open_array(tmp_path / name, size, np.float16)
    assert (tmp_path / name).stat().st_blocks * 512 >= 2_000_000

    def full(*place: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(CheckpointError, match=r"b\.f16: cannot be written \(No space left"):
        open_array(tmp_path / "b.f16", size, np.float16)
    assert not (tmp_path / "b.f16").exists()
    with pytest.raises(CheckpointError, match="No space left"):
        open_array(tmp_path / name, size, np.float16)
    assert (tmp_path / name).exists()

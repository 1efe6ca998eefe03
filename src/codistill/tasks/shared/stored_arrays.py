"""A folder of memory-mapped arrays that is filled view by view, with its key, inputs and progress.

DIR/cache.json       the key: identity of the contents; another key needs another folder
    inputs.parquet   inputs of each row (`files/inputs.py`); rows whose inputs changed are computed again
    done.json        number of views written, and which of them are stale

A row is an image or a pair; view v belongs to pass v // rows and row v % rows.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from codistill.errors import ConfigError
from codistill.files.disk import free_space
from codistill.files.hashes import text_sha256
from codistill.files.inputs import Change, Inputs, compare, read_inputs, write_inputs
from codistill.files.writing import allocate, atomically, cannot_write, make_directory, write_atomic

KEY, INPUTS, DONE = "cache.json", "inputs.parquet", "done.json"
_FORMAT = 2
_CHUNK = 1024
ArrayFiles = Mapping[str, tuple[tuple[int, ...], type[np.generic]]]
"""Shape and number type by file name; `.npy` files also store both themselves."""

Say = Callable[[str], None]


def claim(folder: Path, key: dict[str, Any], what: str, option: str = "--cache") -> str:
    """Write the key of a folder of stored arrays, or check that the folder has the same key.

    Args:
        folder: must exist.
        key: identity of the contents.
        what, option: the word for the contents, and the option that names another folder, for the error.

    Returns:
        The key as text.

    Raises:
        ConfigError: if the folder has another key; the message lists the differences.
    """
    path = folder / KEY
    text = json.dumps({"format": _FORMAT, **key}, indent=1, sort_keys=True) + "\n"
    if not path.exists():
        write_atomic(path, text)
    elif path.read_text(encoding="utf-8") != text:
        new = json.loads(text)
        try:
            old = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            old = {}
        changed = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
        raise ConfigError(
            f"{folder} holds {what} of something else (different: {', '.join(changed)}). "
            f"Remove it, or name another folder ({option})."
        )
    return text


class ArrayStore:
    """The stored arrays, and which of their views are missing or stale.

    Args:
        folder: folder of this store alone; created if missing.
        key: identity of the contents, as JSON; a folder with another key is refused.
        files: the arrays; the first axis is the view.
        inputs: current inputs of each row.
        passes: number of views of each row.
        by_place: whether rows also depend on their index and the number of rows, as random views do. Otherwise rows are
            moved with their inputs.
        what, option: see `claim`.
        say: prints what changed.

    Attributes:
        changed: description of the changed inputs; empty if none changed.

    Raises:
        ConfigError: if the folder has another key.
        CheckpointError: if the folder cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        key: dict[str, Any],
        files: ArrayFiles,
        inputs: Inputs,
        *,
        passes: int = 1,
        by_place: bool = True,
        what: str = "features",
        option: str = "--cache",
        say: Say = lambda text: None,
    ) -> None:
        make_directory(folder)
        self.folder, self.files, self.inputs, self.passes = folder, files, inputs, passes
        self._key = claim(folder, key, what, option)
        self.views = passes * len(inputs.rows)
        self._made = np.zeros(self.views, dtype=bool)
        self._since_saving = 0
        old = read_inputs(folder / INPUTS)
        if old is None and (folder / DONE).exists():
            say(f"{folder / INPUTS}: missing or damaged: everything is made again")
        change = Change((), "") if old is None else compare(old, inputs, by_place=by_place)
        self.changed = change.text
        if old is not None:
            self._keep(old, change)
        if change.text:
            count = len(self.todo())
            say(
                f"{folder}: made from other files ({change.text}): {count} of {self.views} views are made again"
            )
        if old is None or change.text:
            self._record()
        self._arrays: dict[str, np.memmap] | None = None

    def _keep(self, old: Inputs, change: Change) -> None:
        """Mark the stored views that are still valid, and move them to their rows' new places."""
        rows = len(old.rows)
        before = _made_views(self.folder, self.passes * rows)
        sources = np.array(change.sources, dtype=np.int64)
        moved = rows != len(sources) or bool(((sources >= 0) & (sources != np.arange(len(sources)))).any())
        sizes = {name: (self.passes * rows, *size[1:]) for name, (size, _) in self.files.items()}
        if not _are_whole(self.folder, self.files, sizes):
            return
        start = np.arange(self.passes)[:, None]
        views = np.where(sources >= 0, start * rows + sources, -1).ravel()
        made = (views >= 0) & before[np.maximum(views, 0)] if rows else np.zeros(len(views), dtype=bool)
        if moved or (change.text and self._room_for_a_copy()):
            self._save_state()  # no view counts as valid until all arrays are moved
            for name, (size, dtype) in self.files.items():
                _moved(self.folder / name, sizes[name], size, dtype, np.where(made, views, -1))
        self._made = made

    def _room_for_a_copy(self) -> bool:
        """Whether the disk has room for old and new arrays together; a process can then keep reading the old ones."""
        size = sum((self.folder / name).stat().st_size for name in self.files)
        return free_space(self.folder)[0] > 2 * size

    def _record(self) -> None:
        """Write done.json first, then the inputs: in this order no stale row passes as current after a crash."""
        self._save_state()
        write_inputs(self.folder / INPUTS, self.inputs)

    def _save_state(self) -> None:
        there = np.flatnonzero(self._made)
        count = int(there[-1]) + 1 if len(there) else 0
        again = np.flatnonzero(~self._made[:count]).tolist()
        write_atomic(self.folder / DONE, json.dumps({"views": count, "again": again}) + "\n")

    @property
    def identity(self) -> str:
        """SHA-256 of key and inputs, for results derived from this store."""
        return text_sha256(self._key + self.inputs.digest())

    @property
    def made(self) -> int:
        """Number of valid views."""
        return int(self._made.sum())

    def todo(self) -> np.ndarray:
        """Missing and stale views, in order."""
        return np.flatnonzero(~self._made)

    def groups(self, size: int) -> Iterator[tuple[int, tuple[int, ...]]]:
        """The views of `todo` as (pass, rows), at most `size` rows of one pass at a time."""
        rows = len(self.inputs.rows)
        for number in range(self.passes):
            left = np.flatnonzero(~self._made[number * rows : (number + 1) * rows]).tolist()
            for start in range(0, len(left), size):
                yield number, tuple(left[start : start + size])

    def arrays(self) -> dict[str, np.memmap]:
        """The writable arrays, created if missing.

        Raises:
            CheckpointError: if they cannot be created.
        """
        if self._arrays is None:
            self._arrays = {
                name: open_array(self.folder / name, size, dtype)
                for name, (size, dtype) in self.files.items()
            }
        return self._arrays

    def wrote(self, number: int, rows: tuple[int, ...], *, save_every: int) -> None:
        """Mark rows of a pass as written; saves the state every `save_every` views and at the end.

        Raises:
            CheckpointError: if the disk is full.
        """
        self._made[number * len(self.inputs.rows) + np.array(rows)] = True
        self._since_saving += len(rows)
        if self._since_saving < save_every and not self._made.all():
            return
        self._since_saving = 0
        try:
            for array in self.arrays().values():
                array.flush()
        except OSError as error:
            raise cannot_write(self.folder, error) from error
        self._save_state()


def is_unfinished(folder: Path, views: int) -> bool:
    """Whether done.json marks some of so many views as missing or stale; False without such a file."""
    return (folder / DONE).is_file() and not _made_views(folder, views).all()


def _made_views(folder: Path, views: int) -> np.ndarray:
    """Whether done.json marks a view as valid, (view,)."""
    made = np.zeros(views, dtype=bool)
    try:
        state = json.loads((folder / DONE).read_text(encoding="utf-8"))
        made[: int(state["views"])] = True
        made[np.array(state["again"], dtype=np.int64)] = False
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return np.zeros(views, dtype=bool)
    return made


def _are_whole(folder: Path, files: ArrayFiles, sizes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether all arrays exist with these shapes and number types."""
    for name, (_, dtype) in files.items():
        try:
            if name.endswith(".npy"):
                there = np.load(folder / name, mmap_mode="r", allow_pickle=False)
                fits = there.shape == sizes[name] and there.dtype == np.dtype(dtype)
            else:
                need = int(np.prod(sizes[name])) * np.dtype(dtype).itemsize
                fits = (folder / name).stat().st_size == need
        except (OSError, ValueError):
            return False
        if not fits:
            return False
    return True


def _moved(
    path: Path, old: tuple[int, ...], new: tuple[int, ...], dtype: type[np.generic], sources: np.ndarray
) -> None:
    """Rewrite an array with its views at their new places."""
    with atomically(path) as partial:
        before = open_array(path, old, dtype, mode="r")
        after = open_array(partial, new, dtype)
        kept = np.flatnonzero(sources >= 0)
        for start in range(0, len(kept), _CHUNK):
            part = kept[start : start + _CHUNK]
            after[part] = before[sources[part]]
        after.flush()


def open_array(
    path: Path, size: tuple[int, ...], dtype: type[np.generic], *, mode: str | None = None
) -> np.memmap:
    """Open a stored array; create it if it is missing or has another size.

    Args:
        path: a `.npy` file, or a raw one.
        size, dtype: shape and number type of the array.
        mode: `r` to read; None to write.

    Raises:
        CheckpointError: if it cannot be opened or created.
    """
    try:
        if mode is None:
            fits = path.exists() and _are_whole(path.parent, {path.name: (size, dtype)}, {path.name: size})
            mode = "r+" if fits else "w+"
            if not fits:
                path.unlink(missing_ok=True)  # a process that reads the old file keeps it
        if path.suffix.startswith(".npy"):  # under its temporary name: .npy-NUMBER
            array = np.lib.format.open_memmap(path, mode=mode, dtype=dtype, shape=size)
        else:
            array = np.memmap(path, dtype=dtype, mode=mode, shape=size)  # type: ignore[call-overload]
        if mode != "r":
            allocate(path, created=mode == "w+")
        return array
    except OSError as error:
        raise cannot_write(path, error) from error

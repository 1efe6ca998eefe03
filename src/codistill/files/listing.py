"""Find files below a folder by their suffixes, by the same rules everywhere.

Regular files whose name ends in one of the suffixes, in upper or lower case, are found; links are followed. The
following are passed over, counted and logged once: hidden files (macOS leaves `._x.jpg` beside `x.jpg`), folders of
other programs (`.ipynb_checkpoints`, `__MACOSX`, `@eaDir`), broken links, pipes and devices, and archives.
"""

import logging
import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from codistill.errors import DataError

IMAGE_SUFFIXES = tuple(
    ".jpg .jpeg .jpe .jfif .png .webp .bmp .tif .tiff .gif .ppm .pgm .pbm .pnm .jp2 .avif .tga".split()  # noqa: SIM905
)
"""Suffixes of image files, in upper or lower case."""

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".tar.zst", ".tar.lz4", ".zip", ".7z", ".rar")
_FOREIGN = {
    name.casefold()
    for name in (
        "__MACOSX",
        "__pycache__",
        "@eaDir",
        "@Recycle",
        "#recycle",
        "$RECYCLE.BIN",
        "System Volume Information",
        "lost+found",
    )
}
"""Folders that systems and programs leave among data. Hidden folders (.ipynb_checkpoints, .Trashes) count too."""

LOGGER = logging.getLogger("codistill")
_said: set[str] = set()


class PassedOver:
    """Files that were found but are not used: for each kind, their number and the first of them."""

    def __init__(self) -> None:
        self.kinds: dict[str, tuple[int, str]] = {}

    def add(self, kind: str, name: str, count: int = 1) -> None:
        """Count one more file of a kind, or several."""
        so_far, first = self.kinds.get(kind, (0, name))
        self.kinds[kind] = (so_far + count, first)

    def __bool__(self) -> bool:
        return bool(self.kinds)

    def __str__(self) -> str:
        return ", ".join(f"{count:,} {kind} (first: {name})" for kind, (count, name) in self.kinds.items())

    def say(self, where: object) -> None:
        """Log what was passed over, if anything."""
        if self:
            say(f"{where}: passed over {self}")


def say(text: str) -> None:
    """Log a warning once per process, and only on the first of several processes."""
    if text not in _said and os.environ.get("RANK", "0") == "0":
        _said.add(text)
        LOGGER.warning(text)


def is_foreign(name: str) -> bool:
    """Whether a file or folder of this name (not a path) is hidden or belongs to another program."""
    return name.startswith(".") or name.casefold() in _FOREIGN


def walk_files(
    root: str | Path, suffixes: Collection[str], passed: PassedOver, *, deep: bool = True
) -> Iterator[str]:
    """Yield relative paths with `/`: first a folder's own files by name, then those in its folders, by name.

    Links to folders are followed, but not in a circle.

    Args:
        root: the folder.
        suffixes: lower case, with their dots.
        passed: collects files that are not used, while walking.
        deep: also list the files in its folders.

    Raises:
        DataError: if the folder is missing, a folder below it cannot be listed, or a name is not UTF-8.
    """
    return _walk(str(root), "", (os.path.realpath(root),), tuple(suffixes), passed, deep)


def _walk(
    root: str,
    prefix: str,
    above: tuple[str, ...],
    suffixes: tuple[str, ...],
    passed: PassedOver,
    deep: bool,
) -> Iterator[str]:
    here = os.path.join(root, prefix) if prefix else root  # noqa: PTH118  (a string is enough: a million of these)
    try:
        with os.scandir(here) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{here}: cannot be listed: {error.strerror or error}") from error
    folders: list[os.DirEntry[str]] = []
    for entry in found:
        if _is_folder(entry):
            folders.append(entry)
        elif entry.name.lower().endswith(suffixes):
            if kind := _unusable(entry):
                passed.add(kind, f"{prefix}{entry.name}")
            else:
                yield f"{prefix}{_utf8(entry.name, here)}"
        elif entry.name.lower().endswith(ARCHIVES) and not is_foreign(entry.name):
            passed.add("archives, which are not opened", f"{prefix}{entry.name}")
    for entry in folders if deep else ():
        if is_foreign(entry.name):
            passed.add("hidden folders or folders of other programs", f"{prefix}{entry.name}/")
        elif not entry.is_symlink() or os.path.realpath(entry.path) not in above:
            inner = (*above, os.path.realpath(entry.path))
            yield from _walk(root, f"{prefix}{entry.name}/", inner, suffixes, passed, deep)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle, or into a folder that may not be entered
        return False


def _unusable(entry: os.DirEntry[str]) -> str:
    """Why a file is not used; empty if it is usable."""
    if is_foreign(entry.name):
        return "hidden files"
    try:
        if entry.is_file():
            return ""
    except OSError:
        pass
    return "links that lead nowhere" if entry.is_symlink() else "pipes, sockets or devices"


def _utf8(name: str, folder: str) -> str:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise DataError(f"{folder}: the file name {name!r} is not UTF-8; rename it") from None
    return name


def list_files(
    folder: str | Path, suffixes: Collection[str] = IMAGE_SUFFIXES, *, deep: bool = False
) -> list[Path]:
    """List the files of a folder (`deep`: and of folders below it), sorted by path; log files that are passed over.

    Raises:
        DataError: as `walk_files`.
    """
    passed = PassedOver()
    found = sorted(Path(folder) / name for name in walk_files(folder, suffixes, passed, deep=deep))
    passed.say(folder)
    return found


def list_folders(folder: str | Path) -> list[Path]:
    """List the folders in a folder by name, without hidden ones and those of other programs.

    Raises:
        DataError: if it cannot be listed.
    """
    try:
        with os.scandir(folder) as entries:
            names = sorted(e.name for e in entries if _is_folder(e) and not is_foreign(e.name))
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed: {error.strerror or error}") from error
    return [Path(folder) / name for name in names]


def any_case(path: Path) -> Path:
    """The path if it exists; otherwise the same path with its suffix in upper or lower case, if that exists."""
    others = (path.with_suffix(path.suffix.upper()), path.with_suffix(path.suffix.lower()))
    return path if path.exists() else next((other for other in others if other.exists()), path)


def by_stem(files: Iterable[Path]) -> dict[str, Path]:
    """Return the files of one folder by name without the suffix, in their order.

    Raises:
        DataError: if two files have the same name without the suffix.
    """
    found: dict[str, Path] = {}
    for path in files:
        other = found.setdefault(path.stem, path)
        if other != path:
            raise DataError(
                f"{path.parent}: {other.name} and {path.name} have one name but for the suffix, so it is not known "
                "which of them is meant. Rename or remove one."
            )
    return found

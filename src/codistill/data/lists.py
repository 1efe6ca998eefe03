"""A text list of images: one path per line, relative to a root, as editors, shells and other programs write them.

A line that is the name of an existing file is taken literally. Otherwise:

* blanks and quotes around the name, and a leading `./`, are removed;
* `\\` is read as `/`;
* empty lines and lines that start with `#` are skipped;
* further columns (after a tab, blank, comma or semicolon: a label, a remark) are ignored, which is logged.

An absolute path must lie below the root. An image that is listed twice counts twice, which is logged too.
"""

import os
import posixpath
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from codistill.data.rooted import leaves_root, relative_name
from codistill.errors import DataError
from codistill.files.lines import read_lines
from codistill.files.listing import IMAGE_SUFFIXES, PassedOver, say
from codistill.files.urls import is_url

_ENDINGS = "|".join(re.escape(suffix) for suffix in IMAGE_SUFFIXES)
_ODD = re.compile(r"^[\s#\"'/.~]|[\t\\:\"]|/[/.]|\s$")
_COLUMNS = re.compile(rf"(\"[^\"]+\"|'[^']+'|.+?(?:{_ENDINGS}))(?:\s*[,;|]|\s)\s*\S?.*", re.IGNORECASE)
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|[A-Za-z]:[\\/]")


def read_list(path: Path | str, root: str, lines: Sequence[str] | None = None) -> list[str]:
    """Read the relative paths in a text list, in its order.

    Args:
        path: the list, UTF-8.
        root: the folder or address to which the paths are relative.
        lines: lines of the list; default: read from `path`.

    Raises:
        DataError: if the file cannot be read or is not text, or if a line is no file below the root; the line is named.
    """
    passed = PassedOver()
    given = read_lines(Path(path)) if lines is None else lines
    names = list(_names(path, given, root, passed))
    twice = len(names) - len(set(names))
    if twice:
        say(
            f"{path}: {twice:,} of {len(names):,} lines name an image that is listed before; it counts each time"
        )
    if passed:
        say(f"{path}: {passed}")
    return names


def _names(path: Path | str, lines: Sequence[str], root: str, passed: PassedOver) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        where = f"{path}, line {number}: {line.strip()!r}"
        plain = line.removeprefix("./") if line.startswith(".") else line.removeprefix("/")
        if plain.lower().endswith(IMAGE_SUFFIXES) and not _ODD.search(
            plain
        ):  # most lines: no look-up on the disk
            yield _inside(line, root, where) if line.startswith("/") else plain
        elif line.strip() and (name := _name(line, root, where, passed)) is not None:
            yield name


def _name(line: str, root: str, where: str, passed: PassedOver) -> str | None:
    """Find the relative path in an unusual line; None for a comment."""
    text = line.strip()
    if is_url(root):
        text = text.removeprefix(f"{root}/")
    for as_it_stands in (line, text):
        if _is_there(as_it_stands, root):
            return _inside(as_it_stands, root, where)
    if text.startswith("#"):
        return None
    if not text.lower().endswith(IMAGE_SUFFIXES) and (columns := _COLUMNS.fullmatch(text)):
        text = columns[1].strip()
        if len(columns[0]) > len(columns[1]):
            passed.add("lines have further columns after the path, which are not used", where)
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        text = text[1:-1].replace(text[0] * 2, text[0]).strip()
    if not _is_there(text, root):
        if _ADDRESS.match(text):
            raise DataError(
                f"{where} is not below {root}; list files below it, or give the source another root="
            )
        text = text.replace("\\", "/")
    if not text or text.endswith("/") or ("\t" in text and not _is_there(text, root)):
        raise DataError(f"{where} is no image's path; write one path per line")
    return _inside(text, root, where)


def _is_there(text: str, root: str) -> bool:
    path = os.path.join(root, text)  # noqa: PTH118
    return os.path.lexists(path) and not os.path.isdir(path)  # noqa: PTH112


def _inside(text: str, root: str, where: str) -> str:
    name = relative_name(text, root)
    if name is None:
        raise leaves_root(where, root)
    return posixpath.normpath(name) if name.startswith(".") or "//" in name or "/." in name else name

"""The cache folder, absolute paths, and paths of files that were moved together.

A user's path is relative to the current folder. It is made absolute before it is saved, unless it begins with `~` or a
variable, which mean the same everywhere. A folder that was moved together with the targets of its paths finds them at
their old position relative to the folder.
"""

import os
from collections.abc import Callable
from pathlib import Path

from codistill.files.urls import is_url

CACHE = "CODISTILL_CACHE"


def cache_folder() -> Path:
    """The folder for data that can be made or fetched again.

    It is `$CODISTILL_CACHE`, otherwise `$XDG_CACHE_HOME/codistill`, otherwise `~/.cache/codistill`.
    """
    chosen = os.environ.get(CACHE)
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return (Path(chosen) if chosen else Path(base) / "codistill").expanduser()


def absolute_path(path: str) -> str:
    """Make a path absolute and without `..`. Links are not resolved.

    A path with `~` or a variable is unchanged if it leads to an absolute path or to an address; so are addresses
    (`s3://…`).
    """
    expanded = os.path.expandvars(os.path.expanduser(path))  # noqa: PTH111
    if "$" in expanded or is_url(expanded) or (expanded != path and expanded.startswith("/")):
        return path
    return os.path.abspath(expanded)  # noqa: PTH100


def absolute_encoder(text: str) -> str:
    """`absolute_path` for an encoder, if it names an existing file or folder; options may follow after commas."""
    if not text or text.startswith(("/", "~", "$")):
        return text
    return with_path(text, lambda path: absolute_path(path) if os.path.exists(path) else path)  # noqa: PTH110


def absolute_place(spec: str) -> str:
    """`absolute_path` for a folder or `LAYOUT:FOLDER`, if the folder exists."""
    whole = absolute_encoder(spec)
    kind, colon, place = spec.partition(":")
    return f"{kind}:{absolute_encoder(place)}" if whole == spec and colon else whole


def moved_path(path: str, before: str, now: str) -> str:
    """Find the new place of a missing file after a folder was moved from `before` to `now`.

    The file's path relative to the folder is assumed to be unchanged. If nothing is there, the path is returned as it
    is.
    """
    if not path.startswith("/") or os.path.lexists(path):
        return path
    seen = os.path.relpath(path, before)
    found = os.path.normpath(Path(absolute_path(now)) / seen)
    return found if os.path.lexists(found) else path


def moved_place(spec: str, before: str, now: str) -> str:
    """`moved_path` for a folder or `LAYOUT:FOLDER`, with or without options after commas."""
    kind, colon, place = spec.partition(":")
    if colon and place.startswith("/"):
        return f"{kind}:{with_path(place, lambda path: moved_path(path, before, now))}"
    return with_path(spec, lambda path: moved_path(path, before, now))


def with_path(text: str, change: Callable[[str], str]) -> str:
    """Change the path in a text of a path and options after commas; the longest path that `change` changes is taken."""
    for end in range(len(text), 0, -1):
        if end == len(text) or text[end] == ",":
            found = change(text[:end])
            if found != text[:end]:
                return found + text[end:]
    return text

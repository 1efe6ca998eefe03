"""The cache folder, absolute paths, and paths of things that were moved together.

A user's path is relative to the current folder and made absolute before it is saved, unless it begins with `~` or a
variable, which mean the same from anywhere. A folder that was moved together with the targets of its paths finds them
at their old place relative to the folder.
"""

import os
from collections.abc import Callable
from pathlib import Path

from codistill.files.urls import is_url

CACHE = "CODISTILL_CACHE"


def cache_folder() -> Path:
    """For data that can be made or fetched again: `$CODISTILL_CACHE`, else `$XDG_CACHE_HOME/codistill`, else
    `~/.cache/codistill`.
    """
    chosen = os.environ.get(CACHE)
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return (Path(chosen) if chosen else Path(base) / "codistill").expanduser()


def absolute_path(path: str) -> str:
    """Absolute and without `..`, links left as they are; `~` and variables stay if they lead to an absolute path or to
    an address; addresses (`s3://…`) stay.
    """
    expanded = os.path.expandvars(os.path.expanduser(path))  # noqa: PTH111
    if "$" in expanded or is_url(expanded) or (expanded != path and expanded.startswith("/")):
        return path
    return os.path.abspath(expanded)  # noqa: PTH100


def absolute_encoder(text: str) -> str:
    """The same for an encoder, if it names an existing file or folder; options follow it after commas."""
    if not text or text.startswith(("/", "~", "$")):
        return text
    return with_path(text, lambda path: absolute_path(path) if os.path.exists(path) else path)  # noqa: PTH110


def absolute_place(spec: str) -> str:
    """The same for a folder or `LAYOUT:FOLDER`."""
    whole = absolute_encoder(spec)
    kind, colon, place = spec.partition(":")
    return f"{kind}:{absolute_encoder(place)}" if whole == spec and colon else whole


def moved_path(path: str, before: str, now: str) -> str:
    """An absolute path whose target is missing, relative to a folder moved from `before` to `now`, if that exists."""
    if not path.startswith("/") or os.path.lexists(path):
        return path
    seen = os.path.relpath(path, before)
    found = os.path.normpath(Path(absolute_path(now)) / seen)
    return found if os.path.lexists(found) else path


def moved_place(spec: str, before: str, now: str) -> str:
    """The same for a folder or `LAYOUT:FOLDER`, with options after commas or not."""
    kind, colon, place = spec.partition(":")
    if colon and place.startswith("/"):
        return f"{kind}:{with_path(place, lambda path: moved_path(path, before, now))}"
    return with_path(spec, lambda path: moved_path(path, before, now))


def with_path(text: str, change: Callable[[str], str]) -> str:
    """A text of a path and options after commas, with its path changed; the longest path that changes counts."""
    for end in range(len(text), 0, -1):
        if end == len(text) or text[end] == ",":
            found = change(text[:end])
            if found != text[:end]:
                return found + text[end:]
    return text

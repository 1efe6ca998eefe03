"""A source: a named, numbered set of encoded images of one domain.

A source gives encoded bytes, not pixels: the transform that decodes them knows how much of an image it needs.
"""

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from codistill.data.patterns import ROTATIONS, check_patterns
from codistill.errors import ConfigError, DataError, unknown_name
from codistill.files.listing import PassedOver
from codistill.files.stamps import Stamp
from codistill.files.urls import check_url, is_url
from codistill.imaging import MAX_PIXELS, decode_rgb
from codistill.types import Domain

KINDS = ("auto", "folder", "list", "manifest", "shards", "generated")
_CHANGEABLE = {"changeable": True}
_NOT_IN_NAMES = '/\\:*?"<>|'
_TAKEN = ("all",)
_LONGEST_NAME = 100
"""Largest length of a source's name, in bytes of UTF-8."""


@dataclass(frozen=True, kw_only=True)
class SourceConfig:
    """Location and kind of a set of images.

    Attributes:
        name: unique among the sources of a run. It is part of the names of metrics and files, so it must not contain
            `/` or other special characters of paths; `all` is reserved for the total.
        path: a folder of images, a text list of paths (.txt), a Parquet manifest, or a folder of tar shards, each on
            this machine or as an address (`s3://BUCKET/…`, `gs://`, `https://`, `hf://`); for kind `generated`, a
            number of images. `~` and `$VARIABLES` are expanded.
        domain: `generic`, `3d`, `human` or your own word.
        kind: `auto` decides by the path; see `open_source`.
        root: folder to which the names in a list or manifest are relative, and which they may not leave. Default: the
            root that the manifest states, or the list's own folder.
        include, exclude: globs on an image's relative path (`*` also matches `/`). An image is used if it matches
            one of `include` (or `include` is empty) and none of `exclude`. `@imagenet1k` matches the class folders of
            ImageNet-1K.
        rotation: `closeup` turns images whose path contains that word clockwise by 90 degrees (BEDLAM).
        expected: number of images; opening fails if there are fewer. 0: any number.
        groups: regular expression whose match in an image's relative path names the image's group (room, sequence,
            camera). Confidence intervals resample groups. `^` puts all images into one group; "" makes each image a
            group.
    """

    name: str
    path: str = field(metadata=_CHANGEABLE)
    domain: Domain = "generic"
    kind: Literal["auto", "folder", "list", "manifest", "shards", "generated"] = field(
        default="auto", metadata=_CHANGEABLE
    )
    root: str | None = field(default=None, metadata=_CHANGEABLE)
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    rotation: str = "none"
    expected: int = 0
    groups: str = field(default="", metadata=_CHANGEABLE)

    def __post_init__(self) -> None:
        for place in (self.path, self.root or ""):
            check_url(place, f"source {self.name!r}")
        for what in ("name", "path", "domain"):
            if not getattr(self, what):
                raise ConfigError(f"a source needs a {what}; got {self}")
        check_source_name(self.name)
        if self.kind not in KINDS:
            raise ConfigError(f"source {self.name!r}: {unknown_name('kind', str(self.kind), KINDS)}")
        if self.rotation not in ROTATIONS:
            raise ConfigError(f"source {self.name!r}: {unknown_name('rotation', self.rotation, ROTATIONS)}")
        for patterns in (self.include, self.exclude):
            if isinstance(patterns, str):
                raise ConfigError(f"source {self.name!r}: include and exclude are lists; got {patterns!r}")
            check_patterns(patterns)
        try:
            re.compile(self.groups)
        except re.error as error:
            raise ConfigError(
                f"source {self.name!r}: groups must be a regular expression; got {self.groups!r} ({error})"
            ) from error

    def group_of(self, image: str) -> str:
        """The group of an image, found in its relative path.

        Raises:
            DataError: if `groups` does not match it.
        """
        if not self.groups:
            return f"{self.name}: {image}"
        found = re.search(self.groups, image)
        if found is None:
            raise DataError(
                f"source {self.name!r}: its groups, {self.groups!r}, match nothing in {image!r}. Give a regular "
                "expression that finds the group in every image's path (`^` makes one group of all)."
            )
        return f"{self.name}: {' '.join(part for part in found.groups() if part) or found.group()}"


def check_source_name(name: str) -> None:
    """Raise ConfigError for a name that cannot be part of the names of metrics and files."""
    wrong = sorted({c for c in name if c in _NOT_IN_NAMES or not c.isprintable()})
    if wrong or name != name.strip() or name.startswith((".", "-")) or len(name.encode()) > _LONGEST_NAME:
        what = (
            f"holds {' '.join(map(repr, wrong))}"
            if wrong
            else "starts with . or -, ends in blanks, or is too long"
        )
        hint = re.sub(r"[^\w. -]+", "-", name).strip(" .-")[:_LONGEST_NAME] or "photos"
        raise ConfigError(
            f"the source's name {name!r} {what}. It is part of the names of metrics and files: write e.g. {hint!r} (of "
            "a run that has it already: in its config.yaml too)"
        )
    if name in _TAKEN:
        raise ConfigError(
            f"a source cannot be called {name!r}: that is the total of all of them. Choose another name."
        )


def expand(path: str, name: str) -> str:
    """Fill in `~` and `$VARIABLES` in a path or an address.

    Raises:
        DataError: if a variable is not set.
        ConfigError: if the result is an address with credentials.
    """
    expanded = os.path.expandvars(os.path.expanduser(path)).removeprefix("file://")  # noqa: PTH111
    check_url(expanded, f"source {name!r}")
    if is_url(expanded):
        expanded = expanded.rstrip("/")
    if "$" in expanded and not os.path.lexists(expanded):
        raise DataError(
            f"source {name!r}: the path {path!r} uses a variable that is not set. Set it (export CODISTILL_DATA=... "
            "for the catalogue), or give the source's path."
        )
    return expanded


class Source(ABC):
    """Images by number, from 0 to len(source) - 1. Sources pickle to few bytes, for workers."""

    reads_ahead = False
    """Whether `read_ahead` helps: the images come from a store with a long response time."""

    def __init__(self, config: SourceConfig, passed: PassedOver | None = None) -> None:
        self.config = config
        self.passed = passed or PassedOver()
        """Files found that are not images of this source; already logged."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def name_of(self, index: int) -> str:
        """The image's relative path within the source, with `/` between folders."""

    @abstractmethod
    def read(self, index: int) -> bytes:
        """The encoded image; DataError if it cannot be read."""

    @abstractmethod
    def read_member(self, index: int, member: str) -> bytes:
        """Another file of the same sample, e.g. `depth.png` or `json`; DataError if there is none.

        For a file `0001.jpg` it is `0001.depth.png` beside it; in a shard it is a member with the same key.
        """

    def read_ahead(self, indices: Iterable[int]) -> None:  # noqa: B027  (nothing to do for files)
        """Start to read images that will be read next. This only saves time: results do not depend on it."""

    def names(self) -> Iterator[str]:
        """Yield the names of all images, in order, as `name_of` gives them but faster."""
        return (self.name_of(index) for index in range(len(self)))

    def stamp_of(self, index: int) -> Stamp | None:
        """Size and time of change of the file that holds the image; None if unknown."""
        return None

    def files_of(self, index: int) -> tuple[Path, ...]:
        """The files from which the image is read, for caches of derived data; none if it has no file."""
        return ()

    def rotated(self, index: int) -> bool:
        """Whether the image has to be turned clockwise by 90 degrees."""
        return self.config.rotation != "none" and ROTATIONS[self.config.rotation](self.name_of(index))

    def load_rgb(self, index: int, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
        """Decode the image, upright and turned if needed: (row, column, 3) uint8; DataError if it cannot be used."""
        image = decode_rgb(self.read(index), name=self.name_of(index), max_pixels=max_pixels)
        return np.ascontiguousarray(np.rot90(image, k=-1)) if self.rotated(index) else image

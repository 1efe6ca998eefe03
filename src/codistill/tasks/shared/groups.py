"""Groups of samples (one room, sequence, camera or object) by data set, and splits that do not cut a group.

Confidence intervals resample groups, and the images held out to choose between heads share no group with the training
images. Published data sets name their groups in their files. For a folder of your own, write `groups.json`:

    ROOT/groups.json    {"train": {"0001.jpg": "kitchen", …}, "val": {…}}

A key is the name of an image (with or without suffix, relative to the split's image folder) or of a sample. Without
this file every image is its own group, and results record that.
"""

from collections.abc import Iterable, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from codistill.data.permutation import keys_of, permute
from codistill.data.randomness import Purpose
from codistill.errors import DataError
from codistill.files.json_files import read_json
from codistill.metrics.interval import FEW_GROUPS, group_numbers

GROUPS_FILE = "groups.json"
ALONE = f"images, each its own group: no {GROUPS_FILE}"
_ORDER = Purpose.DENSE_ORDER


@dataclass(frozen=True)
class Groups:
    """The groups of a data set's samples.

    Attributes:
        names: group of each sample, in order.
        kind: the word for the groups in results: `rooms`, `scenes`, ….
    """

    names: tuple[str, ...]
    kind: str

    def __len__(self) -> int:
        return len(self.names)

    @property
    def count(self) -> int:
        """Number of different groups."""
        return len(set(self.names))

    def at(self, indices: Iterable[int]) -> "Groups":
        return Groups(tuple(self.names[index] for index in indices), self.kind)

    def about(self, unit: str = "images") -> str:
        """The unit of resampling, for a metrics file."""
        return f"95 % percentile bootstrap over {self.count} groups ({self.kind}) of {len(self)} {unit}"

    def warning(self) -> str:
        """A warning if there are too few groups for reliable confidence intervals; "" if there are enough."""
        if self.count >= FEW_GROUPS:
            return ""
        if self.count < 2:
            return f"one group ({self.kind}): intervals are unknown"
        return (
            f"{self.count} groups only ({self.kind}): intervals are rough, and too narrow more often than not"
        )


def alone(names: Iterable[object], kind: str = ALONE) -> Groups:
    """Make every sample its own group."""
    return Groups(tuple(f"{number}:{name}" for number, name in enumerate(names)), kind)


def named_groups(data: Sized) -> Groups:
    """The `groups` of a data set, without reading a sample; every sample is its own group if the data set has none."""
    found = getattr(data, "groups", None)
    if found is None:
        return alone(range(len(data)), "samples, each its own group: the data set names none")
    assert isinstance(found, Groups)
    return found


def groups_of(root: Path, split: str, names: Sequence[str], otherwise: Groups | None = None) -> Groups:
    """Read the groups of a split's samples from `groups.json`.

    Args:
        root: the data set's folder.
        split: name of the split.
        names: names of the samples, with `/` between folders.
        otherwise: groups to use if there is no file; None: every sample is its own group.

    Raises:
        DataError: if the file is damaged, or lacks a sample or the split.
    """
    path = root / GROUPS_FILE
    if not path.is_file():
        return alone(names) if otherwise is None else otherwise
    known = read_json(path).get(split)
    form = '{"train": {"IMAGE": "GROUP", …}, "val": {…}}'
    if not isinstance(known, dict) or not all(isinstance(value, str) and value for value in known.values()):
        raise DataError(f"{path}: names no groups of the split {split!r}; expected {form}")
    found = [known.get(name, known.get(str(PurePosixPath(name).with_suffix("")))) for name in names]
    missing = [name for name, group in zip(names, found, strict=True) if group is None]
    if missing:
        raise DataError(
            f"{path}: misses {len(missing)} of {len(names)} samples of {split}, e.g. {missing[0]!r}; expected {form}"
        )
    return Groups(tuple(group for group in found if group is not None), f"groups of {GROUPS_FILE}")


def joined(pairs: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Group pairs: pairs that have a member in common, directly or through other pairs, form one group."""
    parents: dict[str, str] = {}

    def root_of(name: str) -> str:
        while parents.setdefault(name, name) != name:
            parents[name] = parents[parents[name]]
            name = parents[name]
        return name

    for first, second in pairs:
        parents[root_of(second)] = root_of(first)
    return tuple(root_of(first) for first, _ in pairs)


@dataclass(frozen=True)
class GroupSplit:
    """Indices of training and held-out samples; `shared` if both contain samples of the same group."""

    training: tuple[int, ...]
    held_out: tuple[int, ...]
    shared: bool


def split_groups(groups: Groups, wanted: int, seed: int) -> GroupSplit:
    """Hold out whole groups, so that no held-out sample shares a group with a training sample; the seed decides which.

    Groups are drawn in random order until `wanted` samples are held out; a group that would raise the number above half
    of all samples is skipped. If there is only one group, single samples are held out (`shared`).

    Raises:
        DataError: if there are fewer than two samples.
    """
    total, (numbers, count) = len(groups), group_numbers(groups.names, len(groups))
    if total < 2:
        raise DataError(f"a fit needs two images at least, one to choose between heads; got {total}")
    shared = count < 2
    if shared:
        numbers, count = np.arange(total), total
    sizes = np.bincount(numbers, minlength=count)
    order = permute(np.arange(count), count, keys_of(seed, _ORDER)).tolist()
    chosen: list[int] = []
    held = 0
    for number in order:
        if held < wanted and held + sizes[number] <= total // 2:
            chosen.append(number)
            held += int(sizes[number])
    if not chosen:  # every group is larger than half of all
        chosen = [int(sizes.argmin())]
    mask = np.isin(numbers, chosen)
    return GroupSplit(tuple(np.flatnonzero(~mask).tolist()), tuple(np.flatnonzero(mask).tolist()), shared)

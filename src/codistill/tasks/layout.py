"""Describe the layouts of data sets on disk, and a split that is opened from one of them.

In: `LAYOUT:FOLDER` and the name of a split, as `--data` gives them (`opening.py`). Out: samples that a task's `fit` and
`score` read. A task names its layouts in its `Task` value.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from codistill.tasks.shared.inputs import Samples


@dataclass(frozen=True)
class Where:
    """A split of a data set that is to be opened.

    Attributes:
        spec: `LAYOUT:FOLDER`, as the user gave it.
        root: the folder.
        split: name of the split.
        partial: use the split although images are missing.
    """

    spec: str
    root: Path
    split: str
    partial: bool = False


@dataclass(frozen=True, kw_only=True)
class TaskData:
    """An opened split. Tasks derive from it and add fields: classes, a protocol, a body model.

    Attributes:
        spec, split: `LAYOUT:FOLDER` and name of the split.
        samples: a map-style, picklable data set; it may have `groups`, `inputs_of` and `shared_inputs`.
        partial: whether images may be missing.
        notes: lines on what was left out or assumed; printed before anything is computed.
    """

    spec: str
    split: str
    samples: Samples
    partial: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """The layout of a data set on disk, and how to open it.

    Attributes:
        open: opens a split.
        about: one line on where the files lie.
        splits: names of the splits; () if a split may have any name.
        exception: the split to score instead of the one that `scored` would choose, and the reason.
    """

    open: Callable[[Where], TaskData]
    about: str
    splits: tuple[str, ...] = ("train", "val")
    exception: tuple[str, str] | None = None

    @property
    def scored(self) -> tuple[str, str]:
        """The split that is scored by default, and the reason: `test` if the layout has one, else `val`."""
        if self.exception is not None:
            return self.exception
        if not self.splits or "test" in self.splits:
            return "test", "the data's own"
        return "val", "this layout has no test"

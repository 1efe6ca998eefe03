"""Progress of a study: the state of every cell, read from the files in its folder only."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from codistill.study.cells import Cell, cell_names
from codistill.study.claims import holders
from codistill.study.config import StudyConfig
from codistill.study.finished import is_finished
from codistill.study.logs import last_said
from codistill.study.places import StudyFolder, flat_name
from codistill.study.records import read_cell, read_failure

State = Literal["finished", "running", "failed", "left"]
MARKS: dict[State, str] = {"finished": "■", "running": "▶", "failed": "✗", "left": "·"}


@dataclass(frozen=True, kw_only=True)
class CellState:
    """State of a cell.

    Attributes:
        name, state: of the cell.
        holder: of a running cell: machine, process, and `age`, the seconds since its last heartbeat.
        said: the last line of its command, or why it failed.
    """

    name: str
    state: State
    holder: dict[str, Any] | None = None
    said: str = ""


@dataclass(frozen=True)
class Progress:
    """Progress of a study.

    Attributes:
        cells: the states of all cells.
        expected: expected seconds of the unfinished cells for which a cell of the same kind is finished.
        unknown: number of the other unfinished cells.
    """

    cells: tuple[CellState, ...]
    expected: float
    unknown: int

    @property
    def counts(self) -> Counter[str]:
        return Counter(cell.state for cell in self.cells)


def progress_of(study: StudyConfig, folder: StudyFolder, cells_now: Sequence[Cell] = ()) -> Progress:
    """Find the current state of every cell.

    Args:
        study, folder: of the study.
        cells_now: the study's cells. Those that are finished but will be done again, because a student that they read
            was trained anew or a file that others need is missing, then count as left.
    """
    held = holders(folder.claims)
    # A world's place depends on the folder that the command is run in: it does not tell whether it is missing.
    again = {c.name for c in cells_now if c.kind != "world" and not is_finished(c, cells_now, folder)}
    cells: list[CellState] = []
    spent: dict[str, list[float]] = {}
    for name in cell_names(study):
        record = read_cell(folder, name)
        failure = read_failure(folder, name)
        holder = held.get(flat_name(name))
        if record is not None:
            spent.setdefault(_kind(name), []).append(float(record["seconds"]))
        if record is not None and name not in again:
            cells.append(CellState(name=name, state="finished"))
        elif holder is not None:
            cells.append(
                CellState(name=name, state="running", holder=holder, said=last_said(folder.log(name)))
            )
        elif failure is not None:
            cells.append(CellState(name=name, state="failed", said=str(failure["said"])))
        else:
            cells.append(CellState(name=name, state="left"))
    open_kinds = [_kind(cell.name) for cell in cells if cell.state != "finished"]
    expected = sum(median(spent[kind]) for kind in open_kinds if kind in spent)
    return Progress(tuple(cells), expected, sum(kind not in spent for kind in open_kinds))


def _kind(name: str) -> str:
    return name.rpartition("/")[2]

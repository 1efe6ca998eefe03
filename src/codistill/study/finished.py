"""Decide which cells are finished: by their records, and by the files that other cells still need from them."""

from collections.abc import Sequence

from codistill.study.cells import Cell
from codistill.study.places import StudyFolder
from codistill.study.records import from_other_row, read_cell
from codistill.world.build import WORLD_FILE


def is_finished(cell: Cell, cells: Sequence[Cell], folder: StudyFolder) -> bool:
    """Whether a cell has a record that still holds, and the files that cells without one need from it.

    A record no longer holds if a student that the cell read was trained anew since.

    Args:
        cell: the cell.
        cells: all cells of the call.
        folder: folder of the study.
    """
    record = read_cell(folder, cell.name)
    if record is None or from_other_row(cell, record):
        return False
    if cell.kind == "world":
        return (cell.out / WORLD_FILE).is_file()
    if cell.kind == "training" and not (cell.out / "export").is_dir():
        return not any(cell.name in one.needs and not is_finished(one, cells, folder) for one in cells)
    return True

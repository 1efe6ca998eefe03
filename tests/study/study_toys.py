"""A study of toys: a program that counts to its goal in a file, in place of codistill's commands."""

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from codistill.study.cells import Cell
from codistill.study.places import StudyFolder
from codistill.study.runner import Runner, RunOptions

PROGRAM = """
import pathlib, signal, sys, time
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
out, goal, pause = pathlib.Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
out.mkdir(parents=True, exist_ok=True)
with (out / "begun").open("a") as file:
    file.write("x")
if goal < 0:
    print("some talk"); print("codistill toy: a goal below 0"); sys.exit(2)
count = out / "count"
step = int(count.read_text()) if count.exists() else 0
while step < goal:
    step += 1
    with (out / "steps").open("a") as file:
        file.write(f"{step} ")
    count.write_text(str(step))
    if asked:
        sys.exit(75)
    time.sleep(pause)
(out / "export").mkdir(exist_ok=True)
(out / "export" / "encoder.safetensors").write_text(str(goal))
"""


def training(
    folder: StudyFolder,
    row: str,
    goal: int,
    *,
    pause: float = 0.0,
    needs: tuple[str, ...] = (),
    start: Cell | None = None,
) -> Cell:
    """A cell that counts to its goal; `start` is the training whose student it reads."""
    name = f"{row}/0/train"
    words = (str(folder.work(name)), str(goal), str(pause))
    return Cell(
        name=name,
        kind="training",
        row=row,
        what="train",
        words=words,
        out=folder.work(name),
        needs=needs if start is None else (*needs, start.name),
        config={"goal": goal},
        inputs={} if start is None else {"student.init": str(start.out / "export")},
        of_rows=() if start is None else ("student.init",),
    )


def no_facts(cell: Cell, seconds: float) -> Mapping[str, Any]:
    return {"seconds": seconds, "attempts": 1}


def runner(
    folder: StudyFolder,
    cells: list[Cell],
    say: Callable[[str], None] = lambda text: None,
    **options: Any,
) -> Runner:
    program = folder.root / "program.py"
    folder.root.mkdir(parents=True, exist_ok=True)
    program.write_text(PROGRAM)
    return Runner(folder, cells, RunOptions(**options), no_facts, say, (sys.executable, str(program)), 0.1)


def steps(cell: Cell) -> list[int]:
    """What a cell counted, over all attempts."""
    return [int(word) for word in (cell.out / "steps").read_text().split()]


def begun(cell: Cell) -> int:
    """How often a cell was begun."""
    return len((cell.out / "begun").read_text())


def record(folder: StudyFolder, cell: Cell) -> dict[str, Any]:
    return json.loads((folder.cell(cell.name) / "cell.json").read_text())

"""Read runs of codistill's engine: the newest checkpoint of a run folder, and the student in it.

A run holds `describe.json` (what was trained: architecture, teachers, licences) and
`checkpoints/step_00000100/model.safetensors` beside `state.json`, which is written last.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from codistill.errors import CheckpointError
from codistill.files.json_files import read_json
from codistill.files.yaml_text import parse_yaml
from codistill.nn.network import NetworkConfig
from codistill.nn.vit import ViTConfig
from codistill.weights.architecture import config_from_fields
from codistill.weights.contents import EncoderWeights, StudentWeights
from codistill.weights.export import read_normalization
from codistill.weights.layout_student import read_std_floor, read_student, with_teachers
from codistill.weights.read import read_checkpoint
from codistill.weights.state import StateDict
from codistill.weights.stated import Stated

CHECKPOINTS, CONFIG, DESCRIBE = "checkpoints", "config.yaml", "describe.json"
MODEL, STATE = "model.safetensors", "state.json"

_STEP = re.compile(r"step_(\d{1,12})", re.ASCII)


def is_run(path: str | Path) -> bool:
    """Whether a path is a run folder, one of its checkpoint folders, or the weights in one."""
    path = Path(path).absolute()
    if (path / CHECKPOINTS).is_dir():
        return True
    folder = path.parent if path.name == MODEL else path
    return bool(_STEP.fullmatch(folder.name)) and (folder / MODEL).is_file()


def checkpoints(run: str | Path) -> list[Path]:
    """Complete checkpoint folders of a run, oldest first."""
    found = [
        (int(match[1]), folder)
        for folder in Path(run).joinpath(CHECKPOINTS).glob("step_*")
        if (match := _STEP.fullmatch(folder.name))
        and (folder / MODEL).is_file()
        and (folder / STATE).is_file()
    ]
    return [folder for _, folder in sorted(found)]


def latest_checkpoint(run: str | Path) -> Path:
    """The newest complete checkpoint folder of a run.

    Raises:
        CheckpointError: if there is none.
    """
    found = checkpoints(run)
    if not found:
        raise CheckpointError(
            f"{run}: has no complete checkpoint yet ({CHECKPOINTS}/step_*/{MODEL} with {STATE}). "
            "Wait for the first one, or start the run again: it resumes."
        )
    return found[-1]


def _student(folder: Path, run: Path, config: ViTConfig | NetworkConfig) -> StudentWeights:
    """Read the student in a checkpoint; if it is damaged, the error names the run's older checkpoints."""
    file = folder / MODEL
    try:
        state = StateDict.of_checkpoint(file, read_checkpoint(file))
        return read_student(state, Stated(), config, layout="codistill run")
    except CheckpointError as error:
        older = [other for other in checkpoints(run) if other.name < folder.name]
        if not older:
            raise
        raise CheckpointError(
            f"{error} The checkpoint before it is {older[-1]}: name that one instead."
        ) from error


def _recipe(run: Path) -> Any:
    """The recipe stored in a run, as plain values; None if it cannot be read."""
    try:
        return parse_yaml((run / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def read_run(path: str | Path) -> StudentWeights | EncoderWeights:
    """Read the student of a run's newest checkpoint, or of a given one; its moving average, if the run keeps one.

    Raises:
        CheckpointError: if the run trained something else, or its files are inconsistent.
    """
    path = Path(path).expanduser().absolute()
    is_folder = (path / CHECKPOINTS).is_dir()
    folder = latest_checkpoint(path) if is_folder else path.parent if path.name == MODEL else path
    run = path if is_folder else folder.parent.parent
    describe = read_json(run / DESCRIBE)
    where = str(run / DESCRIBE)
    if describe.get("kind") != "student" or not isinstance(describe.get("encoder"), Mapping):
        raise CheckpointError(
            f"{run}: trained a {describe.get('kind', 'head')!r}, not a student encoder. "
            "Give it where a head is asked for (--head), or name a distillation run."
        )
    config = config_from_fields(describe["encoder"], where)
    student = _student(folder, run, config)
    projector = describe.get("projector")
    step = _STEP.fullmatch(folder.name)
    student = replace(
        student,
        encoder=replace(
            student.encoder,
            name=run.name,
            licence=str(describe.get("licence", "unknown")),
            extra={"step": int(step[1]) if step else None},
            **read_normalization(describe.get("normalization"), where),
        ),
        proj_args=dict(projector) if isinstance(projector, Mapping) else {},
        iteration=int(step[1]) if step else None,
        recipe=describe.get("recipe"),
        std_floor=read_std_floor(describe, _recipe(run), where),
    )
    return with_teachers(student, describe.get("teachers"))

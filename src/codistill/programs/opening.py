"""Open an exported file of any kind by its path, with a literal table from suffixes to classes."""

from collections.abc import Callable
from pathlib import Path

from codistill.errors import CheckpointError
from codistill.programs.onnx_file import OnnxProgram, read_onnx_record
from codistill.programs.program import Program
from codistill.programs.record import ProgramRecord
from codistill.programs.torch_files import TorchProgram, read_torch_record

OPENERS: dict[str, Callable[[Path], Program]] = {".onnx": OnnxProgram, ".pt2": TorchProgram}


RECORDS: dict[str, Callable[[Path], ProgramRecord]] = {".onnx": read_onnx_record, ".pt2": read_torch_record}
"""Functions that read only the record of a file, by suffix."""


def open_program(path: str | Path) -> Program:
    """Open a file of `codistill export`, ready to run: `program(images=…)["patches"]`.

    Raises:
        CheckpointError: if there is no such file, or it is of another kind.
        MissingExtraError: if its runtime is not installed.
    """
    path = Path(path).expanduser()
    opener = OPENERS.get(path.suffix.lower())
    if opener is None:
        raise CheckpointError(f"{path}: is no exported file; their names end in {', '.join(OPENERS)}")
    return opener(path)

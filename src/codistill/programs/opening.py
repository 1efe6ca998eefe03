"""Any exported file by its path: a literal table from a suffix to what opens it."""

from collections.abc import Callable
from pathlib import Path

from codistill.errors import CheckpointError
from codistill.programs.onnx_file import OnnxProgram
from codistill.programs.program import Program
from codistill.programs.torch_files import TorchProgram

OPENERS: dict[str, Callable[[Path], Program]] = {".onnx": OnnxProgram, ".pt2": TorchProgram}


def open_program(path: str | Path) -> Program:
    """A file of `codistill export`, ready to run: `program(images=…)["patches"]`.

    Raises:
        CheckpointError: if there is no such file, or it is of another kind.
        MissingExtraError: if its runtime is not installed.
    """
    path = Path(path).expanduser()
    opener = OPENERS.get(path.suffix.lower())
    if opener is None:
        raise CheckpointError(f"{path}: is no exported file; their names end in {', '.join(OPENERS)}")
    return opener(path)

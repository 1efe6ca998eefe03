"""Run ONNX files in onnxruntime: a path in, a `Program` out. Source: https://onnxruntime.ai."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from codistill.errors import CheckpointError, ConfigError, MissingExtraError
from codistill.programs.program import Program, not_ours
from codistill.programs.record import KEY, ProgramRecord, record_of_json

EXTRA = "onnx"
_PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")
"""Execution providers; the available ones are used, in this order."""


def onnxruntime() -> Any:
    """Import the module onnxruntime.

    Raises:
        MissingExtraError: if it is not installed.
    """
    try:
        import onnxruntime as module
    except ImportError as error:
        raise MissingExtraError("onnxruntime", EXTRA, "Running an ONNX file") from error
    return module


def onnx_session(path: Path, threads: int | None = None) -> Any:
    """Open an ONNX file as a session of onnxruntime.

    Args:
        path: the file.
        threads: number of CPU threads; None: that of PyTorch.

    Raises:
        CheckpointError: if there is no such file, or it is not an ONNX file that onnxruntime can run.
        MissingExtraError: if onnxruntime is not installed.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file. Check the path.")
    module = onnxruntime()
    options = module.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    providers = [name for name in _PROVIDERS if name in module.get_available_providers()]
    try:
        return module.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # onnxruntime's exceptions have no common base but Exception
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"{path}: onnxruntime cannot run it ({reason})") from error


def read_onnx_record(path: Path) -> ProgramRecord:
    """Read the record in an ONNX file's metadata.

    Raises:
        CheckpointError: if codistill did not write it.
        MissingExtraError: if onnxruntime is not installed.
    """
    return _record_of(onnx_session(path), path)


def _record_of(session: Any, path: Path) -> ProgramRecord:
    said = session.get_modelmeta().custom_metadata_map
    if KEY not in said:
        raise not_ours(path)
    return record_of_json(said[KEY], str(path))


class OnnxProgram(Program):
    """An ONNX file, run by onnxruntime.

    Args:
        path: a file of `codistill export --format onnx`.
        threads: see `onnx_session`.

    Raises:
        CheckpointError: if the file cannot be read, or was not written by codistill.
    """

    def __init__(self, path: str | Path, threads: int | None = None) -> None:
        self.path, self.threads = Path(path).expanduser(), threads
        self.session = onnx_session(self.path, threads)
        self.record = _record_of(self.session, self.path)
        self.runtime = f"onnxruntime {onnxruntime().__version__}"
        self.names = [output.name for output in self.session.get_outputs()]

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles (for other processes) open the file again, because a session cannot be copied."""
        return OnnxProgram, (self.path.absolute(), self.threads)

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        arrays = {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in inputs.items()}
        try:
            found = self.session.run(None, arrays)
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            raise ConfigError(f"{self.path}: onnxruntime failed ({reason})") from error
        return {name: torch.from_numpy(array) for name, array in zip(self.names, found, strict=True)}

"""Run ONNX files in OpenVINO: a path in, a `Program` out. Source: https://docs.openvino.ai."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from codistill.errors import CheckpointError, MissingExtraError
from codistill.programs.onnx_file import read_onnx_record
from codistill.programs.program import Program

EXTRA = "openvino"


def openvino() -> Any:
    """Import the module openvino.

    Raises:
        MissingExtraError: if it is not installed.
    """
    try:
        import openvino as module
    except ImportError as error:
        raise MissingExtraError("openvino", EXTRA, "Running an ONNX file in OpenVINO") from error
    return module


class OpenvinoProgram(Program):
    """An ONNX file, run by OpenVINO in the file's own precision.

    Args:
        path: a file of `codistill export --format onnx`.
        threads: number of CPU threads; None: that of PyTorch.

    Raises:
        CheckpointError: if OpenVINO cannot run it.
    """

    def __init__(self, path: str | Path, threads: int | None = None) -> None:
        self.path = Path(path).expanduser()
        self.record = read_onnx_record(self.path)
        module = openvino()
        options = {
            "INFERENCE_NUM_THREADS": threads or torch.get_num_threads(),
            "INFERENCE_PRECISION_HINT": "f32",
        }
        try:
            compiled = module.Core().compile_model(str(self.path), "CPU", options)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:300]
            raise CheckpointError(f"{self.path}: OpenVINO cannot run it ({reason})") from error
        self.request = compiled.create_infer_request()
        self.names = [port.name for port in self.record.outputs]
        self.runtime = f"OpenVINO {module.__version__.partition('-')[0]}"

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        found = self.request.infer({name: tensor.contiguous().numpy() for name, tensor in inputs.items()})
        return {name: torch.from_numpy(found[place].copy()) for place, name in enumerate(self.names)}

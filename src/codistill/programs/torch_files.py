"""Run PyTorch's own files, `torch.export` programs and AOTInductor packages: a path in, a `Program` out.

Both are zip archives (.pt2). A program runs operator by operator and needs no compiler. A package holds machine code
for the kind of device it was compiled on: opening one runs it, so open only those whose origin you trust.
"""

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from codistill.errors import CheckpointError
from codistill.programs.program import Program, not_ours
from codistill.programs.record import KEY, ProgramRecord, record_of_json

RECORD_MEMBER = f"extra/{KEY}.json"
"""Member of the archive that holds the record, below its root folder, where `torch.export.save` puts `extra_files`."""


class TorchProgram(Program):
    """A file of `codistill export --format torch-export` or `aoti`.

    Raises:
        CheckpointError: if there is no such file, or it is not one of these.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        if not self.path.is_file():
            raise CheckpointError(f"{self.path}: no such file. Check the path.")
        self.record = read_torch_record(self.path)
        compiled = any("/aotinductor/" in name for name in _members(self.path))
        open_file = _open_package if compiled else _open_program
        try:
            self.call = open_file(self.path)
        except Exception as error:  # its parsers raise many classes on damaged bytes
            reason = " ".join(str(error).split())[:300]
            raise CheckpointError(f"{self.path}: PyTorch cannot open it ({reason})") from error
        self.runtime = "AOTInductor" if self.record.format == "aoti" else "torch.export"

    @torch.inference_mode()
    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        found = self.call(*(inputs[port.name] for port in self.record.inputs))
        return {port.name: tensor for port, tensor in zip(self.record.outputs, found, strict=True)}


def read_torch_record(path: Path) -> ProgramRecord:
    """Read the record in a .pt2 file, without running its code.

    Raises:
        CheckpointError: if codistill did not write it.
    """
    said = next((name for name in _members(path) if name.endswith(f"/{RECORD_MEMBER}")), None)
    if said is None:
        raise not_ours(path)
    with zipfile.ZipFile(path) as archive:
        return record_of_json(archive.read(said).decode(), str(path))


def add_record(path: Path, record: ProgramRecord) -> None:
    """Add a record to a file without one."""
    root = _members(path)[0].partition("/")[0]
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"{root}/{RECORD_MEMBER}", record.to_json())


def _members(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (OSError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path}: is no .pt2 file ({error}). Copy it again.") from error


def _open_program(path: Path) -> Callable[..., Any]:
    return torch.export.load(str(path)).module()


def _open_package(path: Path) -> Callable[..., Any]:
    from torch._inductor import aoti_load_package  # imports the compiler's Python code, which takes seconds

    return aoti_load_package(str(path))

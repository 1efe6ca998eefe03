"""PyTorch's own formats from a `torch.export` program: the program itself, or compiled by AOTInductor for this machine.

A compiled package holds machine code for this kind of processor (or GPU): export it where it will run.
"""

import shutil
from pathlib import Path

import torch
from torch.export import ExportedProgram

from codistill.deploy.config import ExportConfig
from codistill.deploy.exportable import Exportable
from codistill.errors import ConfigError
from codistill.programs.record import ProgramRecord
from codistill.programs.torch_files import add_record


def _apart(folder: Path) -> Path:
    """Where parts lie, so that none of them has the name that is asked for."""
    made = folder / "made"
    made.mkdir(exist_ok=True)
    return made


def saved_program(program: ExportedProgram, network: Exportable, config: ExportConfig, folder: Path) -> Path:
    """The program as a file in a folder, without a record."""
    path = _apart(folder) / "program.pt2"
    torch.export.save(program, str(path))
    return path


def compiled_package(
    program: ExportedProgram, network: Exportable, config: ExportConfig, folder: Path
) -> Path:
    """The program compiled, as a file in a folder, without a record; takes a minute or two.

    Raises:
        ConfigError: if there is no compiler.
    """
    from torch._inductor import aoti_compile_and_package  # brings the compiler's Python code in: seconds
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        return Path(aoti_compile_and_package(program, package_path=str(_apart(folder) / "package.pt2")))
    except InvalidCxxCompiler as error:
        raise ConfigError(
            "AOTInductor needs a C++ compiler (g++ or clang++), which was not found. Install one, or export with "
            "--format torch-export or onnx"
        ) from error


def write_torch(made: Path, record: ProgramRecord, path: Path) -> None:
    """Write one of these files with its record."""
    shutil.copyfile(made, path)
    add_record(path, record)

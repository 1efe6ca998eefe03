"""Write PyTorch's own formats: a `torch.export` program, or a package compiled from it by AOTInductor.

A compiled package holds machine code for this kind of processor (or GPU): export it on the machine that will run it.
"""

import io
import shutil
from pathlib import Path

import torch
from torch.export import ExportedProgram

from codistill.deploy.config import ExportConfig
from codistill.deploy.exportable import Exportable
from codistill.errors import ConfigError
from codistill.programs.record import ProgramRecord
from codistill.programs.torch_files import add_record


def saved_program(program: ExportedProgram, network: Exportable, config: ExportConfig, folder: Path) -> bytes:
    """The program's file without a record, in memory: PyTorch's writer aborts the whole process on a full disk."""
    file = io.BytesIO()
    torch.export.save(program, file)
    return file.getvalue()


def compiled_package(
    program: ExportedProgram, network: Exportable, config: ExportConfig, folder: Path
) -> Path:
    """Compile the program to a file in a folder, without a record; takes a minute or two.

    Raises:
        ConfigError: if there is no compiler.
    """
    from torch._inductor import aoti_compile_and_package  # imports the compiler, which takes seconds
    from torch._inductor.exc import InvalidCxxCompiler

    apart = folder / "made"  # no part has the name of the final file
    apart.mkdir(exist_ok=True)
    try:
        return Path(aoti_compile_and_package(program, package_path=str(apart / "package.pt2")))
    except InvalidCxxCompiler as error:
        raise ConfigError(
            "AOTInductor needs a C++ compiler (g++ or clang++), which was not found. Install one, or export with "
            "--format torch-export or onnx"
        ) from error


def write_torch(made: Path | bytes, record: ProgramRecord, path: Path) -> None:
    """Write one of these files to its path, with its record."""
    if isinstance(made, bytes):
        path.write_bytes(made)
    else:
        shutil.copyfile(made, path)
    add_record(path, record)

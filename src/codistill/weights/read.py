"""Read a weights file without running code: a path in, the file's dictionary out.

`.safetensors` files hold only tensors. `.pth` and `.pt` files hold pickles, which are read by torch's restricted
unpickler with a short list of plain classes that occur in published checkpoints. The format is recognized by the first
bytes, not by the suffix. Files are memory-mapped where the format allows it.
"""

import argparse
import pathlib
import pickle
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from codistill.errors import CheckpointError

FileKind = Literal["safetensors", "torch zip", "torch legacy"]

_SCALAR: Any = np.float64(0.0).__reduce__()[0]
_ARRAY: Any = np.zeros(0).__reduce__()[0]
_PATHS = {
    pathlib.PurePosixPath: ("PosixPath", "PurePosixPath"),
    pathlib.PureWindowsPath: ("WindowsPath", "PureWindowsPath"),
}
_PLAIN_CLASSES: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    argparse.Namespace,
    SimpleNamespace,
    np.ndarray,
    np.dtype,
    *{type(np.dtype(kind)) for kind in "?bhilqBHILQefdFD"},
    *((_SCALAR, f"numpy.{module}.multiarray.scalar") for module in ("core", "_core")),
    *((_ARRAY, f"numpy.{module}.multiarray._reconstruct") for module in ("core", "_core")),
    *(
        (plain, f"{module}.{name}")
        for module in ("pathlib", "pathlib._local")
        for plain, names in _PATHS.items()
        for name in names
    ),
]
"""Classes that are allowed besides tensors: argument namespaces, paths, numpy numbers. None of them runs code."""

_DAMAGE = (
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    AssertionError,
)
_DAMAGE += (MemoryError, OverflowError, ImportError, struct.error, SafetensorError)
"""Exceptions that parsers raise on damaged bytes (`pickle.UnpicklingError` is handled first)."""

_LEGACY_MAGIC = bytes.fromhex("6cfc9c46f9206aa85019")
_OTHER_FILES = {
    b"<!doctype": "a web page: a login or error page was saved instead of the weights",
    b"<html": "a web page: a login or error page was saved instead of the weights",
    b"<?xml": "an XML text: an error message was probably saved instead of the weights",
    b"version https://git-lfs": "a Git LFS pointer, not the weights themselves: run `git lfs pull`",
    b"\x80": "a plain pickle, which is not loaded because that could run code",
    b"\x1f\x8b": "a gzip archive: unpack it first",
    b"bzh": "a bzip2 archive: unpack it first",
    b"\x93numpy": "a numpy array",
    b"\x89hdf": "an HDF5 file",
    b"par1": "a Parquet file",
    b"{": "a JSON text",
}
"""First bytes, in lower case, of other kinds of file that users give by mistake."""


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read the dictionary in a weights file: tensors by name, or whatever was passed to `torch.save`.

    Args:
        path: a `.safetensors` file, or a `.pth` / `.pt` file (zip or older format); the suffix does not matter.

    Returns:
        The content of the file. Tensors are on the CPU in their own dtype, and memory-mapped where possible: do not
        write to them.

    Raises:
        CheckpointError: if the file is missing, damaged, not a checkpoint, or holds anything that is not plain data.
    """
    path = Path(path).expanduser()
    kind = file_kind(path)
    if kind == "safetensors":
        return _read_safetensors(path)
    try:
        with torch.serialization.safe_globals(_PLAIN_CLASSES):
            content = torch.load(str(path), map_location="cpu", weights_only=True, mmap=kind == "torch zip")
    except pickle.UnpicklingError as error:
        raise CheckpointError(_refused(path, str(error))) from error
    except _DAMAGE as error:
        raise CheckpointError(_damaged(path, error)) from error
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{path}: expected a dictionary of tensors, found a {type(content).__name__}. "
            "Save model.state_dict() instead."
        )
    if empty := _without_values(content):
        raise CheckpointError(
            f"{path}: {empty} is on the meta device, so the file holds its shape and no values. Save the weights after "
            "they are loaded or initialized."
        )
    return content


def _without_values(content: Any, name: str = "") -> str:
    """Name of the first tensor, in dictionaries of any depth, that has no values; "" if there is none."""
    if isinstance(content, dict):
        inner = (
            _without_values(value, f"{name}.{key}" if name else str(key)) for key, value in content.items()
        )
        return next(filter(None, inner), "")
    return name if isinstance(content, torch.Tensor) and content.is_meta else ""


def read_header(path: str | Path) -> dict[str, str]:
    """Read the text metadata of a `.safetensors` file; empty for other kinds of file.

    Raises:
        CheckpointError: as `read_checkpoint`.
    """
    path = Path(path).expanduser()
    if file_kind(path) != "safetensors":
        return {}
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except _DAMAGE as error:
        raise CheckpointError(_damaged(path, error)) from error


def file_kind(path: str | Path) -> FileKind:
    """The format of a weights file, from its first bytes.

    Raises:
        CheckpointError: if it is missing, unreadable, empty, or not a weights file.
    """
    path = Path(path)
    if path.is_dir():
        raise CheckpointError(
            f"{path}: is a folder, and neither a run (with checkpoints/) nor an export (with config.json). "
            "Name the weights file in it."
        )
    if path.exists() and not path.is_file():
        raise CheckpointError(f"{path}: is a pipe or a device, no regular file. Copy the weights into one.")
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such file. Check the path.") from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}). Check its permissions.") from error
    if not start:
        raise CheckpointError(f"{path}: is empty. Download or copy it again.")
    if len(start) >= 9 and start[8:9] == b"{" and 0 < struct.unpack("<Q", start[:8])[0] < 100_000_000:
        return "safetensors"
    if start[:2] == b"PK":
        return "torch zip"
    if _LEGACY_MAGIC in start[:32]:
        return "torch legacy"
    plain = start.lstrip().lower()
    found = next((text for known, text in _OTHER_FILES.items() if plain.startswith(known)), None)
    if start[257:262] == b"ustar":
        found = "a tar archive: unpack it first"
    raise CheckpointError(
        f"{path}: is {found or f'no weights file (it starts with {start[:16]!r})'}. Allowed: .safetensors, and .pth "
        "or .pt files written by torch.save. Check the path, or download it again."
    )


def _read_safetensors(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except _DAMAGE as error:
        raise CheckpointError(_damaged(path, error)) from error


def _refused(path: Path, reason: str) -> str:
    """Error text for a pickle that the restricted unpickler refuses."""
    found = re.search(r"GLOBAL (\S+)", reason)
    if found is None:
        detail = re.search(r"WeightsUnpickler error: (.*)", reason)
        return _damaged(path, detail[1] if detail else "not readable as plain data")
    return (
        f"{path}: holds the Python object {found[1]!r}, which is not loaded because that could run code. "
        "Allowed: tensors, numbers, text, containers and argparse.Namespace. If you trust the file, open it where it "
        "was made and save only model.state_dict(), best with safetensors.torch.save_file."
    )


def _is_program(path: Path) -> bool:
    """Whether a file is an archive of `torch.export`, which says so in a member."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/archive_format") for name in archive.namelist())
    except Exception:  # zipfile raises many kinds for damaged files
        return False


def _damaged(path: Path, error: object) -> str:
    """Error text for bytes that do not parse, with the first sentence of the parser's reason."""
    if "TorchScript" in str(error):
        return f"{path}: is a TorchScript program, not weights. Save its state_dict() instead."
    if _is_program(path):
        return (
            f"{path}: is a PyTorch program, not weights. Give the weights it was made from, or an .onnx file. "
            "The program runs with codistill.programs.opening.open_program"
        )
    lines = str(error).strip().split("\n")
    reason = re.split(r"\.? {2}\(|\. ", lines[0])[0][:200].rstrip(".") or type(error).__name__
    return (
        f"{path}: damaged or incomplete ({path.stat().st_size:,} bytes; {reason}). Download or copy it again."
    )

"""The files of an ONNX export: FILE.onnx and, of a large model, its weights in FILE.onnx.data beside it."""

from pathlib import Path


def weights_beside(path: Path) -> Path:
    """Where the weights of a large model lie, whether or not there is such a file."""
    return path.with_name(f"{path.name}.data")


def onnx_parts(path: Path) -> list[Path]:
    """The existing files of an export: the file itself, and its weights if they are separate."""
    return [part for part in (path, weights_beside(path)) if part.is_file()]

"""SHA-256 of what a path leads to at present: an encoder, data or a file, as a user names it."""

from functools import cache
from pathlib import Path

from codistill.files.hashes import file_sha256, text_sha256
from codistill.files.listing import PassedOver, walk_files
from codistill.files.onnx_parts import onnx_parts
from codistill.files.stamps import Stamp, stamp_of
from codistill.world.build import WORLD_FILE


def content_of(text: str) -> str:
    """SHA-256 of an encoder's weights, a world's plan, another file, or a folder's listing; "" if nothing is there.

    The listing holds the names and sizes of the files below a folder, not their contents or times, so a copy on another
    machine counts as the same data. It is made once per process. For a folder within a world, the plan of that world
    counts.

    Raises:
        DataError: if a folder cannot be listed.
    """
    path = Path(text.split(",")[0]).expanduser()
    if path.is_file():
        return _of_all(onnx_parts(path))
    if not path.is_dir():
        return ""
    path = path.resolve()
    files = [path / WORLD_FILE] if (path / WORLD_FILE).is_file() else sorted(path.glob("*.safetensors"))
    files = files or sorted(path.glob("checkpoints/*/model.safetensors"))[-1:]
    if not files:  # a split lies two folders below its world
        plans = (folder / WORLD_FILE for folder in path.parents[:2])
        files = [plan for plan in plans if plan.is_file()][:1]
    return text_sha256(" ".join(map(_sha256, files))) if files else _listing(path)


def _of_all(parts: list[Path]) -> str:
    """SHA-256 of a file; if it has several parts, of theirs."""
    hashes = [_sha256(part) for part in parts]
    return hashes[0] if len(hashes) == 1 else text_sha256(" ".join(hashes))


@cache
def _listing(folder: Path) -> str:
    names = walk_files(folder, ("",), PassedOver())
    text = "\n".join(f"{name}\t{stamp_of(folder / name).size}" for name in names)
    return text_sha256(text) if text else ""


def _sha256(path: Path) -> str:
    """SHA-256 of a file as it is now. The file is read once, even if several callers need it."""
    return _stamped_sha256(path, stamp_of(path))


@cache
def _stamped_sha256(path: Path, stamp: Stamp) -> str:
    return file_sha256(path)

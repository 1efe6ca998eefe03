"""What is behind a path today: an encoder, data or a file as a user names it in, its SHA-256 out."""

from functools import cache
from pathlib import Path

from codistill.files.hashes import file_sha256, text_sha256
from codistill.files.listing import PassedOver, walk_files
from codistill.files.stamps import Stamp, stamp_of
from codistill.world.build import WORLD_FILE


def content_of(text: str) -> str:
    """SHA-256 of an encoder's weights, a world's plan, another file, or a folder's listing; "" for what is none.

    A listing holds names and sizes of the files below a folder, not their contents or times: a copy on another machine
    is the same data. It is made once per process. A folder within a world is that world.

    Raises:
        DataError: if a folder cannot be listed.
    """
    path = Path(text.split(",")[0]).expanduser()
    if path.is_file():
        return _sha256(path)
    if not path.is_dir():
        return ""
    path = path.resolve()
    plans = (
        folder / WORLD_FILE for folder in (path, *path.parents[:2])
    )  # a split lies two folders below its world
    files = [plan for plan in plans if plan.is_file()][:1]
    files = files or sorted(path.glob("*.safetensors"))
    files = files or sorted(path.glob("checkpoints/*/model.safetensors"))[-1:]
    return text_sha256(" ".join(map(_sha256, files))) if files else _listing(path)


@cache
def _listing(folder: Path) -> str:
    names = walk_files(folder, ("",), PassedOver())
    text = "\n".join(f"{name}\t{stamp_of(folder / name).size}" for name in names)
    return text_sha256(text) if text else ""


def _sha256(path: Path) -> str:
    """Of a file as it is now; read once for all cells that stand on it."""
    return _stamped_sha256(path, stamp_of(path))


@cache
def _stamped_sha256(path: Path, stamp: Stamp) -> str:
    return file_sha256(path)

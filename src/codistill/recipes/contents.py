"""What is behind a path today: an encoder, a world or a file as a user names it in, its SHA-256 out."""

from functools import cache
from pathlib import Path

from codistill.files.hashes import file_sha256, text_sha256
from codistill.files.stamps import Stamp, stamp_of
from codistill.world.build import WORLD_FILE


def content_of(text: str) -> str:
    """SHA-256 of an encoder's weights, of a world's plan, or of any other file; "" for what is none."""
    path = Path(text.split(",")[0]).expanduser()
    if path.is_file():
        return _sha256(path)
    if not path.is_dir():
        return ""
    named = [path / WORLD_FILE] if (path / WORLD_FILE).is_file() else []
    files = named or sorted(path.glob("*.safetensors"))
    files = files or sorted(path.glob("checkpoints/*/model.safetensors"))[-1:]
    return text_sha256(" ".join(map(_sha256, files))) if files else ""


def _sha256(path: Path) -> str:
    """Of a file as it is now; read once for all cells that stand on it."""
    return _stamped_sha256(path, stamp_of(path))


@cache
def _stamped_sha256(path: Path, stamp: Stamp) -> str:
    return file_sha256(path)

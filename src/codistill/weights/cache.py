"""Find known weights on this machine: a name in, a path out.

The order of the search is: the caller's path, the cache folder (`files/places.py`), the folders in `CODISTILL_WEIGHTS`,
the network (unless `CODISTILL_OFFLINE=1`).
"""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from codistill.errors import CheckpointError
from codistill.files.places import CACHE, cache_folder
from codistill.weights.download import UnreachableError, download
from codistill.weights.known import KnownWeights, find_known, known_stem, known_weights
from codistill.weights.shipped import find_shipped

LOGGER = logging.getLogger("codistill")

FOLDERS, OFFLINE = "CODISTILL_WEIGHTS", "CODISTILL_OFFLINE"

SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin")


def weights_folders() -> list[Path]:
    """The user's own folders of weights, from `CODISTILL_WEIGHTS` (several are separated as in PATH)."""
    return [Path(part).expanduser() for part in os.environ.get(FOLDERS, "").split(os.pathsep) if part]


def is_offline() -> bool:
    return os.environ.get(OFFLINE, "").lower() not in ("", "0", "false", "no", "off")


def find_weights(name: str, *, path: str | Path | None = None) -> Path:
    """Find the file (or export folder) of known weights; it is downloaded if it is not on this machine.

    Args:
        name: a known name or alias, see `known.KNOWN`.
        path: a file to use instead of searching.

    Raises:
        CheckpointError: for an unknown name, or if nothing is found; the text lists the places searched.
    """
    known = known_weights(name)
    if path is not None:
        if not Path(path).expanduser().exists():
            raise CheckpointError(f"{path}: no such file, given for {known.name}. Check the path.")
        return Path(path).expanduser()
    found = find_local(known)
    if found is not None:
        return found
    if is_offline():
        raise CheckpointError(_nowhere(known, f"not asked, because {OFFLINE} is set"))
    Console(stderr=True).print(
        f"{known.name}: fetching {known.size or 'it'} from {known.url}\nlicence: {known.licence}, see {known.homepage}",
        soft_wrap=True,
        highlight=False,
    )
    try:
        return download(known.url, cache_folder() / known.filename, sha256=known.sha256, label=known.name)
    except UnreachableError as error:
        raise CheckpointError(_nowhere(known, str(error))) from error


def named_weights(text: str) -> Path:
    """Path of weights that are given as an existing path, the name of a shipped model, or the name of known weights.

    Any other text is returned as a path, which may not exist.

    Raises:
        CheckpointError: if known weights are not found.
    """
    path = Path(text).expanduser()
    if path.exists():
        return path
    return find_shipped(text) or (find_weights(text) if find_known(text) is not None else path)


def find_local(known: KnownWeights) -> Path | None:
    """Known weights in the cache or in the user's folders; None if not found.

    The published file goes first. Of several others in a folder, the first is taken, with a warning.
    """
    for folder in (cache_folder(), *weights_folders()):
        exact = folder / known.filename
        if exact.is_file():
            return exact
        found = [
            path
            for path in _candidates(folder)
            if known_stem(path.stem if path.is_file() else path.name) is known
        ]
        if len(found) > 1:
            LOGGER.warning(
                "%s: taken as %s; the same folder also has %s. Name the one that you mean by its path.",
                *(found[0], known.name, ", ".join(path.name for path in found[1:])),
            )
        if found:
            return found[0]
    return None


def _candidates(folder: Path) -> Iterator[Path]:
    """Weights files and export folders in a folder, in alphabetical order."""
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        is_file = path.suffix.lower() in SUFFIXES and path.is_file()
        if is_file or (path / "config.json").is_file():
            yield path


def _nowhere(known: KnownWeights, network: str) -> str:
    folders = ", ".join(map(str, weights_folders())) or "not set"
    return (
        f"the weights {known.name!r} are not on this machine. Searched for {known.filename}, and for "
        f"{known.name} with the suffixes {', '.join(SUFFIXES)}, in\n"
        f"  the cache ({CACHE}): {cache_folder()}\n"
        f"  your folders ({FOLDERS}): {folders}\n"
        f"  the network: {network}\n"
        f"To do: put {known.url}\n"
        f"into one of these folders (licence: {known.licence}), or give a file's path instead of the name."
    )

"""Download one file: an address in, a checked file at its path out; interrupted downloads resume.

Bytes are written to `NAME.partial`, which is renamed once it is complete and its SHA-256 is right. Processes that need
the same file wait for the one that downloads it.
"""

import http.client
import urllib.error
import urllib.request
from pathlib import Path

from filelock import FileLock
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from codistill.errors import CheckpointError
from codistill.files.hashes import file_sha256
from codistill.version import __version__

CHUNK = 1 << 20
TIMEOUT_S = 60.0
ATTEMPTS = 4
"""Number of connections before the download fails; each resumes where the last one stopped."""


class UnreachableError(CheckpointError):
    """The server does not give the file."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"{url}: cannot be downloaded ({reason}). Check the network and the address.")


def download(url: str, target: Path, *, sha256: str | None = None, label: str = "") -> Path:
    """Download a file to `target`, or return at once if it exists.

    Args:
        url: its address (http, https or file).
        target: its path. The folder is created.
        sha256: expected hash; None: not checked.
        label: text beside the progress bar.

    Raises:
        CheckpointError: if it cannot be downloaded or written, or has another hash. The received part stays in
            `NAME.partial`, so that the same call resumes; after a wrong hash it is deleted.
    """
    if target.exists():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f".{target.name}.lock")):
            if not target.exists():
                partial = target.with_name(f"{target.name}.partial")
                _fetch(url, partial, label or target.name)
                _check_hash(partial, sha256, url)
                partial.replace(target)
    except OSError as error:
        raise CheckpointError(
            f"{target}: cannot be written ({error.strerror or error}). Check space and rights, or choose another "
            "folder with CODISTILL_CACHE."
        ) from error
    return target


def _fetch(url: str, partial: Path, label: str) -> None:
    """Fill `partial` to the end of the file, over several connections if necessary."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        task = progress.add_task(label, total=None)
        for attempt in range(1, ATTEMPTS + 1):
            before = _size(partial)
            try:
                total = _fetch_once(url, partial, progress, task)
            except urllib.error.HTTPError as error:
                raise UnreachableError(url, f"HTTP {error.code} {error.reason}") from error
            except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
                total, reason = None, str(getattr(error, "reason", error)) or type(error).__name__
            else:
                if total is None or _size(partial) >= total:
                    return
                reason = "the connection closed early"
            have = _size(partial)
            if have == 0 and (attempt == ATTEMPTS or before == 0):
                raise UnreachableError(url, reason)
            if attempt == ATTEMPTS:
                raise CheckpointError(
                    f"{url}: interrupted after {have:,} bytes ({reason}). Run the same command again: it resumes from "
                    f"there ({partial})."
                )


def _fetch_once(url: str, partial: Path, progress: Progress, task: TaskID) -> int | None:
    """Append what is missing, over one connection. Returns the file's size, None if the server does not say it."""
    have = _size(partial)
    headers = {"User-Agent": f"codistill/{__version__}", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not have:
            raise
        if error.headers.get("Content-Range") == f"bytes */{have}":
            return have  # it is complete already
        partial.unlink()  # longer than the file on the server: start again
        return _fetch_once(url, partial, progress, task)
    with response:
        if "text/html" in response.headers.get("Content-Type", ""):
            raise UnreachableError(url, "the server sent a web page instead of the file")
        resumed = have > 0 and response.status == 206
        start = have if resumed else 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length and length.isdigit() else None
        progress.update(task, total=total, completed=start)
        with partial.open("ab" if resumed else "wb") as file:
            while chunk := response.read(CHUNK):
                file.write(chunk)
                progress.advance(task, len(chunk))
    return total


def _check_hash(partial: Path, sha256: str | None, url: str) -> None:
    if sha256 is None:
        return
    found = file_sha256(partial)
    if found != sha256.lower():
        partial.unlink()
        raise CheckpointError(
            f"{url}: the file that arrived has SHA-256 {found}, expected {sha256}. It was deleted. Try again; if that "
            "repeats, the published file has changed or something on the way alters it."
        )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0

"""Who works on a cell: files that exist once, so that several processes and machines share a folder.

    claims/CELL.0       {"machine": …, "process": …, "child": …}; made by O_EXCL, which one process alone can do
    claims/CELL.1       the same for who took over from a holder that is gone

A holder touches its file (the heartbeat). It is gone if its process has ended (on this machine), or if the file has not
been touched for a while (on any). Ages are differences of times that the file system gave, so clocks need not agree. A
takeover makes the next number, which one process alone can do as well; a holder that was only asleep finds that number
and stops.
"""

import json
import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codistill.errors import CheckpointError
from codistill.files.json_files import read_json
from codistill.files.writing import make_directory, temporary_name, write_atomic
from codistill.study.places import flat_name

BEAT = 10.0
"""Seconds between two touches."""
STALE = 120.0
"""Seconds without one after which a holder counts as gone."""


@dataclass
class Claim:
    """A cell that this process holds.

    Attributes:
        path: its file.
        number: how many holders came before.
        taken_from: the one that is gone, in words; "" for none.
        lost_seconds: that the one before had worked.
    """

    path: Path
    number: int
    taken_from: str = ""
    lost_seconds: float = 0.0
    started: float = field(default_factory=time.monotonic)
    _beaten: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Since it was claimed."""
        return time.monotonic() - self.started

    def told(self, child: int) -> None:
        """Note the process that does the work."""
        own = {**_read(self.path), **_own(), "child": child, "child_start": _start_of(child)}
        write_atomic(self.path, json.dumps(own))

    def beat(self) -> bool:
        """Touch the file every `BEAT` seconds; False once somebody else holds the cell."""
        if time.monotonic() - self._beaten < BEAT:
            return True
        self._beaten = time.monotonic()
        if self._taken():
            return False
        try:
            os.utime(self.path)
        except OSError:
            return False
        return True

    def release(self) -> None:
        """Let others have the cell."""
        if self._taken():
            return
        for number in range(self.number + 1):  # this one's last: until then nobody can claim it
            with suppress(OSError):
                self.path.with_suffix(f".{number}").unlink()

    def _taken(self) -> bool:
        return max(_numbers(self.path), default=-1) > self.number


def claim(folder: Path, cell: str, stale: float = STALE) -> Claim | None:
    """Claim a cell; None if somebody else holds it.

    Args:
        folder: of the claims, made if missing.
        cell: its name.
        stale: seconds without a touch after which a holder counts as gone.

    Raises:
        WriteError: if the folder cannot be written.
    """
    make_directory(folder)
    base = folder / f"{flat_name(cell)}.0"
    number, gone, seconds = max(_numbers(base), default=-1) + 1, "", 0.0
    if number:
        before = base.with_suffix(f".{number - 1}")
        gone = _gone(before, stale)
        if not gone:
            return None
        seconds = _worked(before)
    path = base.with_suffix(f".{number}")
    try:
        with path.open("x", encoding="utf-8") as file:
            json.dump({**_own(), "since": time.time()}, file)
    except FileExistsError:
        return None
    return Claim(path, number, gone, seconds)


def _numbers(base: Path) -> list[int]:
    """Numbers of a cell's claims."""
    names = (path.name.removeprefix(f"{base.stem}.") for path in base.parent.glob(f"{base.stem}.*"))
    return [int(name) for name in names if name.isdecimal()]


def holders(folder: Path) -> dict[str, dict[str, Any]]:
    """By cell (as one file name): its last holder, with `age`, the seconds since its last touch."""
    found: dict[str, tuple[int, Path]] = {}
    for path in folder.glob("*") if folder.is_dir() else ():
        number = path.suffix.removeprefix(".")
        if number.isdecimal() and int(number) >= found.get(path.stem, (-1, path))[0]:
            found[path.stem] = (int(number), path)
    now = _now(folder) if found else 0.0
    return {
        name: {**_read(path), "age": now - path.stat().st_mtime}
        for name, (_, path) in found.items()
        if path.exists()
    }


def _gone(path: Path, stale: float) -> str:
    """Why the holder of a file is gone; "" if it is not known to be."""
    try:
        age = _now(path.parent) - path.stat().st_mtime
    except OSError:
        return ""  # released this moment
    holder = _read(path)
    who = f"process {holder.get('process', '?')} on {str(holder.get('machine', '?')).split(' ')[0]}"
    if holder.get("machine") == _machine():
        parts = ("process", "child")
        if any(_lives(holder.get(part), holder.get(f"{part}_start")) for part in parts):
            return ""
        return f"{who} has ended" if holder.get("process") else ""
    return f"{who} has not been heard of for {age:.0f} s" if age > stale else ""


def _worked(path: Path) -> float:
    """Seconds between the claim and the last touch of a file."""
    try:
        return max(0.0, path.stat().st_mtime - float(_read(path).get("since", path.stat().st_mtime)))
    except (OSError, ValueError):
        return 0.0


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except CheckpointError:  # just being written, or released
        return {}


def _own() -> dict[str, Any]:
    process = os.getpid()
    return {
        "machine": _machine(),
        "process": process,
        "process_start": _start_of(process),
    }


def _machine() -> str:
    """This machine, as far as process numbers mean the same: host and, on Linux, the space of process numbers."""
    space = ""
    with suppress(OSError):
        space = os.readlink("/proc/self/ns/pid")  # noqa: PTH115
    return f"{socket.gethostname()} {space}".strip()


def _start_of(process: int) -> str:
    """When a process began, in the kernel's ticks, which tells it from a later one of the same number; "" unknown."""
    found = _status(process)
    return found[19] if found else ""


def _status(process: int) -> list[str]:
    """What Linux says of a process after its name: state, parent, …; [] elsewhere, and of none."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def _lives(process: Any, start: Any) -> bool:
    if not isinstance(process, int):
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's
    found = _status(process)
    if found and found[0] == "Z":  # ended, and its parent has not looked
        return False
    return not found or not start or found[19] == start


def _now(folder: Path) -> float:
    """The file system's time, which touches are compared with."""
    probe = temporary_name(folder / "now")
    try:
        probe.touch()
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)

"""Claims: files that say which process works on a cell, so that several processes and machines can share a folder.

    claims/CELL.0       {"machine": …, "process": …, "child": …}; created with O_EXCL, so only one process succeeds
    claims/CELL.1       the same for the process that took over from a holder that is gone

The holder of a claim touches its file regularly (the heartbeat). It counts as gone if its process has ended (checked on
its own machine), or if the file has not been touched for a while (checked from other machines). Ages are differences of
times from the file system, so the clocks of machines need not agree. A takeover creates the file with the next number,
in which again only one process succeeds. A holder that was only suspended finds that file and stops.
"""

import json
import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codistill.errors import CheckpointError
from codistill.files.json_files import read_json
from codistill.files.writing import cannot_write, make_directory, temporary_name, write_atomic
from codistill.study.places import flat_name

BEAT = 10.0
"""Seconds between two heartbeats."""
STALE = 120.0
"""Seconds without a heartbeat after which a holder on another machine counts as gone."""


@dataclass
class Claim:
    """A cell that this process holds.

    Attributes:
        path: the claim's file.
        number: number of earlier holders.
        taken_from: describes the earlier holder that is gone; "" if there was none.
        lost_seconds: seconds for which the earlier holder had worked.
    """

    path: Path
    number: int
    taken_from: str = ""
    lost_seconds: float = 0.0
    started: float = field(default_factory=time.monotonic)
    _beaten: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Seconds since the cell was claimed."""
        return time.monotonic() - self.started

    def told(self, child: int) -> None:
        """Note the process that does the work."""
        own = {**_read(self.path), **_own(), "child": child, "child_start": _start_of(child)}
        write_atomic(self.path, json.dumps(own))

    def beat(self) -> bool:
        """Touch the file every `BEAT` seconds; return False once another process holds the cell."""
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
        """Give up the claim, so that others can claim the cell."""
        if self._taken():
            return
        for number in range(self.number + 1):  # own number last: until then nobody can claim the cell
            with suppress(OSError):
                self.path.with_suffix(f".{number}").unlink()

    def _taken(self) -> bool:
        return max(_numbers(self.path), default=-1) > self.number


def claim(folder: Path, cell: str, stale: float = STALE) -> Claim | None:
    """Claim a cell; None if another process holds it.

    Args:
        folder: folder of the claims; created if missing.
        cell: its name.
        stale: seconds without a heartbeat after which a holder on another machine counts as gone.

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
    except OSError as error:
        raise cannot_write(path, error) from error
    return Claim(path, number, gone, seconds)


def _numbers(base: Path) -> list[int]:
    """Numbers of a cell's claim files."""
    names = (path.name.removeprefix(f"{base.stem}.") for path in base.parent.glob(f"{base.stem}.*"))
    return [int(name) for name in names if name.isdecimal()]


def holders(folder: Path) -> dict[str, dict[str, Any]]:
    """Find the last holder of each cell (by its name as a file name), with `age`, seconds since its last heartbeat.

    Processes of this machine that have ended are left out.
    """
    found: dict[str, tuple[int, Path]] = {}
    for path in folder.glob("*") if folder.is_dir() else ():
        number = path.suffix.removeprefix(".")
        if number.isdecimal() and int(number) >= found.get(path.stem, (-1, path))[0]:
            found[path.stem] = (int(number), path)
    now, held = time.time(), dict[str, dict[str, Any]]()
    with suppress(OSError):  # who may only read the folder has but the own clock
        now = _now(folder) if found else now
    for name, (_, path) in found.items():
        with suppress(FileNotFoundError):  # just released
            holder = {**_read(path), "age": now - path.stat().st_mtime}
            held |= {} if _has_ended(holder) else {name: holder}
    return held


def _gone(path: Path, stale: float) -> str:
    """Why the holder of a file is gone; "" if it is not known to be gone."""
    try:
        age = _now(path.parent) - path.stat().st_mtime
    except OSError:
        return ""  # just released
    holder = _read(path)
    who = f"process {holder.get('process', '?')} on {str(holder.get('machine', '?')).split(' ')[0]}"
    if holder.get("machine") == _machine():
        return f"{who} has ended" if _has_ended(holder) else ""
    return f"{who} has not been heard of for {age:.0f} s" if age > stale else ""


def _has_ended(holder: Mapping[str, Any]) -> bool:
    """Whether the holder is a process of this machine, and has ended together with its child."""
    if holder.get("machine") != _machine() or not holder.get("process"):
        return False
    return not any(_lives(holder.get(part), holder.get(f"{part}_start")) for part in ("process", "child"))


def _worked(path: Path) -> float:
    """Seconds between the claim and the last heartbeat of a file."""
    try:
        return max(0.0, path.stat().st_mtime - float(_read(path).get("since", path.stat().st_mtime)))
    except (OSError, ValueError):
        return 0.0


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except CheckpointError:  # is just being written or released
        return {}


def _own() -> dict[str, Any]:
    process = os.getpid()
    return {
        "machine": _machine(),
        "process": process,
        "process_start": _start_of(process),
    }


def _machine() -> str:
    """Identify this machine, within which process ids are unique: its host name and, on Linux, its PID namespace."""
    space = ""
    with suppress(OSError):
        space = os.readlink("/proc/self/ns/pid")  # noqa: PTH115
    return f"{socket.gethostname()} {space}".strip()


def _start_of(process: int) -> str:
    """Start time of a process in the kernel's ticks, to tell it from a later one with the same id; "" if unknown."""
    found = _status(process)
    return found[19] if found else ""


def _status(process: int) -> list[str]:
    """Fields after the name of a process in Linux's /proc: state, parent, …; [] elsewhere, or without the process."""
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
        pass  # another user's process: it exists
    found = _status(process)
    if found and found[0] == "Z":  # a zombie: it has ended
        return False
    return not found or not start or found[19] == start


def _now(folder: Path) -> float:
    """The file system's current time, with which times of heartbeats are compared."""
    probe = temporary_name(folder / "now")
    try:
        probe.touch()
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)

"""RUN/sources.json: a run's path, the contents of its sources and teachers, and the steps at which these changed."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codistill.data.fingerprint import SourceState, state_of, what_changed
from codistill.data.loader import open_sources
from codistill.data.opening import DEFAULT_REMOTE
from codistill.data.source import SourceConfig
from codistill.errors import CheckpointError, ConfigError
from codistill.files.json_files import read_json
from codistill.files.plain import from_plain, to_plain
from codistill.files.remote.config import RemoteConfig
from codistill.files.writing import write_atomic
from codistill.recipes.contents import content_of

SOURCES = "sources.json"
FORMAT = 1


@dataclass(frozen=True)
class SourcesNote:
    """What sources and teachers contain now.

    Attributes:
        told: one text for each that has changed since the record.
        record: the new record, as plain data.
    """

    told: list[str]
    record: dict[str, Any]

    def write(self, run: Path) -> None:
        """Write the record; CheckpointError if it cannot be written."""
        write_atomic(run / SOURCES, json.dumps(self.record, ensure_ascii=False) + "\n")


def recorded_place(run: Path) -> str | None:
    """Return the absolute path of a run when it was last trained; None if unknown."""
    place = _read(run).get("run")
    return place if isinstance(place, str) and place.startswith("/") else None


def recorded_changes(run: Path) -> list[str]:
    """List the steps at which a run resumed with other images or teachers, and what changed; one text each."""
    found = _read(run).get("changes", [])
    return [str(one) for one in found] if isinstance(found, list) else []


def compare_sources(
    run: Path,
    sources: Mapping[str, Sequence[SourceConfig]],
    resumed_at: int | None,
    remote: RemoteConfig = DEFAULT_REMOTE,
    teachers: Mapping[str, str] | None = None,
) -> SourcesNote:
    """Find what sources and teachers contain; for a resumed run, compare it with the record.

    Args:
        run: the existing folder of the run.
        sources: by purpose (`training`, `held out`).
        resumed_at: the step at which the run resumes; None for a new run.
        remote: how sources in a store are read.
        teachers: files, folders or names of encoders, by the teacher's name.

    Raises:
        DataError: if a source cannot be opened.
    """
    before = _read(run) if resumed_at is not None else {}
    old = _states(before.get("sources"))
    changes = [] if resumed_at is None else recorded_changes(run)
    now: dict[str, dict[str, SourceState]] = {}
    found: list[str] = []
    if resumed_at is not None and (run / SOURCES).exists() and not old:
        found.append(f"{run / SOURCES} is damaged: whether the images are those of before is not known")
    for part, configs in sources.items():
        now[part] = {source.config.name: state_of(source) for source in open_sources(configs, remote)[0]}
        for name, state in now[part].items():
            earlier = old.get(part, {}).get(name)
            if earlier is not None and (text := what_changed(earlier, state)):
                found.append(f"source {name!r} ({part}): {text}")
    held, before_held = _held(teachers or {}), _texts(before.get("teachers"))
    for name, content in held.items():
        if before_held.get(name, content) != content:
            found.append(f"teacher {name!r}: {(teachers or {})[name]} holds other weights")
    record = {
        "format": FORMAT,
        "run": os.path.abspath(run),  # noqa: PTH100  (links stay)
        "sources": {part: to_plain(states) for part, states in {**old, **now}.items()},
        "teachers": {**before_held, **held},
        "changes": [*changes, *(f"step {resumed_at}: {text}" for text in found)],
    }
    return SourcesNote(found, record)


def _read(run: Path) -> dict[str, Any]:
    """Read the record; empty if it is missing or damaged, so that nothing is compared."""
    try:
        return dict(read_json(run / SOURCES)) if (run / SOURCES).is_file() else {}
    except CheckpointError:
        return {}


def _held(teachers: Mapping[str, str]) -> dict[str, str]:
    """SHA-256 of the weights of teachers that are files. Other names mean the same weights everywhere."""
    found = {name: content_of(os.path.expandvars(what)) for name, what in teachers.items()}
    return {name: content for name, content in found.items() if content}


def _texts(plain: Any) -> dict[str, str]:
    return {str(key): str(value) for key, value in plain.items()} if isinstance(plain, dict) else {}


def _states(plain: Any) -> dict[str, dict[str, SourceState]]:
    try:
        return from_plain(dict[str, dict[str, SourceState]], plain, SOURCES) if plain else {}
    except ConfigError:
        return {}

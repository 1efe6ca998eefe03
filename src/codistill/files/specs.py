"""Data sets and sizes on a command line: `KIND:FOLDER`, `ROWSxCOLUMNS`."""

from collections.abc import Iterable
from pathlib import Path

from codistill.errors import ConfigError, unknown_name


def parse_spec(spec: str, kinds: Iterable[str]) -> tuple[str, Path]:
    """Kind and folder of `KIND:FOLDER`.

    Raises:
        ConfigError: for another form, or an unknown kind.
    """
    known = list(kinds)
    kind, colon, folder = spec.partition(":")
    if not colon or not folder:
        raise ConfigError(
            f"--data {spec}: write KIND:FOLDER, e.g. {known[0]}:/data/{known[0]} (kinds: {', '.join(known)})"
        )
    if kind not in known:
        raise ConfigError(f"--data {spec}: {unknown_name('kind of data set', kind, known)}")
    return kind, Path(folder).expanduser()


def parse_size(text: str) -> tuple[int, int]:
    """`ROWSxCOLUMNS` or one side.

    Raises:
        ConfigError: for anything else.
    """
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ConfigError(f"--size {text}: write rows and columns in pixels, e.g. 112x112")
    return int(parts[0]), int(parts[-1])

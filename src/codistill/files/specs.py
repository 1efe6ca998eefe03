"""Data sets as they are written on a command line: `KIND:FOLDER`."""

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

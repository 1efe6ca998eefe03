"""Parse data sets and sizes given on a command line: `LAYOUT:FOLDER`, `ROWSxCOLUMNS`."""

from collections.abc import Iterable
from pathlib import Path

from codistill.errors import ConfigError, unknown_name


def parse_spec(spec: str, layouts: Iterable[str]) -> tuple[str, Path]:
    """Split `LAYOUT:FOLDER` into layout and folder.

    Raises:
        ConfigError: for another form, or an unknown layout.
    """
    known = list(layouts)
    layout, colon, folder = spec.partition(":")
    if not colon or not folder:
        raise ConfigError(
            f"--data {spec}: how does it lie on disk? write LAYOUT:FOLDER, e.g. {known[0]}:{spec} (layouts: "
            f"{', '.join(known)})"
        )
    if layout not in known:
        raise ConfigError(f"--data {spec}: {unknown_name('layout', layout, known)}")
    return layout, Path(folder).expanduser()


def parse_size(text: str) -> tuple[int, int]:
    """Parse `ROWSxCOLUMNS`, or the side of a square.

    Raises:
        ConfigError: for anything else.
    """
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ConfigError(f"--size {text}: write rows and columns in pixels, e.g. 112x112")
    return int(parts[0]), int(parts[-1])

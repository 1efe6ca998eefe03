"""Find a config by the user's text: a known name, a saved YAML file, or `file.py:NAME` in the user's own file."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from codistill.errors import ConfigError, unknown_name
from codistill.files.config import load_yaml
from codistill.files.own_code import is_own, own_object

T = TypeVar("T")


def find_config(
    what: str,
    known: Mapping[str, T],
    cls: type[T],
    from_yaml: Callable[[Path], T] | None = None,
    kind: str = "recipe",
) -> T:
    """Find the config that a user named.

    Args:
        what: a known name (`-` and `_` count as equal), the path of a YAML file (a run's config.yaml), or
            `path/to/file.py:NAME`; that file is imported.
        known: configs by name.
        cls: class of the config.
        from_yaml: reads a YAML file; None: fields that are missing in the file keep their defaults.
        kind: the config's name in errors.

    Raises:
        ConfigError: if there is no such config; lists the known ones.
    """
    for name in (what, what.replace("_", "-")):
        if name in known:
            return known[name]
    if what.endswith((".yaml", ".yml")):
        return load_yaml(cls, Path(what)) if from_yaml is None else from_yaml(Path(what))
    if is_own(what):
        return own_object(what, kind, lambda found: isinstance(found, cls))
    raise ConfigError(
        f"{unknown_name(kind, what, known)} A path of a .yaml file or file.py:NAME will do as well."
    )


def check_config_name(what: str, known: tuple[str, ...] | None, kind: str = "recipe") -> None:
    """Refuse a text that names no config: neither a known name nor an existing file. Nothing is imported.

    Args:
        what: as for `find_config`.
        known: names; None if they are not known without importing.
        kind: the config's name in errors.

    Raises:
        ConfigError: names the nearest known names, or the file that is missing.
    """
    if what.endswith((".yaml", ".yml")):
        if not Path(what).exists():
            raise ConfigError(f"{what} cannot be read: no such file. Give the path of a YAML file.")
    elif is_own(what):
        file = what.rpartition(":")[0]
        if not Path(file).is_file():
            raise ConfigError(f"{file}: no such file")
    elif known is not None and what not in known and what.replace("_", "-") not in known:
        raise ConfigError(
            f"{unknown_name(kind, what, known)} A path of a .yaml file or file.py:NAME will do as well."
        )

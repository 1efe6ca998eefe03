"""A config by what a user typed: a known name, a saved YAML file, or `file.py:NAME` of the user's own file."""

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from codistill.errors import ConfigError, unknown_name
from codistill.files.config import load_yaml

T = TypeVar("T")


def find_config(
    what: str,
    known: Mapping[str, T],
    cls: type[T],
    kind: str = "recipe",
    from_yaml: Callable[[Path], T] | None = None,
) -> T:
    """The config that a user named.

    Args:
        what: a known name (`-` and `_` are alike), the path of a YAML file (a run's config.yaml), or
            `path/to/file.py:NAME`, which is imported.
        known: by name.
        cls: of the config.
        kind: what it is called in errors.
        from_yaml: reads a YAML file; None: every field that the file lacks keeps its default.

    Raises:
        ConfigError: if there is no such config; the text lists the known ones.
    """
    for name in (what, what.replace("_", "-")):
        if name in known:
            return known[name]
    if what.endswith((".yaml", ".yml")):
        return load_yaml(cls, Path(what)) if from_yaml is None else from_yaml(Path(what))
    if ".py:" in what:
        found = user_object(what, cls)
        if not isinstance(found, cls):
            raise ConfigError(f"{what} is no {cls.__name__}, but a {type(found).__name__}")
        return found
    raise ConfigError(
        f"{unknown_name(kind, what, known)} A path of a .yaml file or file.py:NAME will do as well."
    )


def check_config_name(what: str, known: tuple[str, ...] | None, kind: str = "recipe") -> None:
    """Refuse what cannot be a config: no known name, no file. Nothing is imported.

    Args:
        what: as `find_config` takes it.
        known: names; None where they cannot be told without importing.
        kind: what it is called in errors.

    Raises:
        ConfigError: with the nearest known names, or the file that is not there.
    """
    if what.endswith((".yaml", ".yml")):
        if not Path(what).exists():
            raise ConfigError(f"{what} cannot be read: no such file. Give the path of a YAML file.")
    elif ".py:" in what:
        file = what.rpartition(":")[0]
        if not Path(file).is_file():
            raise ConfigError(f"{file}: no such file")
    elif known is not None and what not in known and what.replace("_", "-") not in known:
        raise ConfigError(
            f"{unknown_name(kind, what, known)} A path of a .yaml file or file.py:NAME will do as well."
        )


def user_object(what: str, cls: type | None = None) -> Any:
    """What `path/to/file.py:NAME` names; the file is imported.

    Args:
        what: as above.
        cls: names of this class are listed where there is no such one.

    Raises:
        ConfigError: if there is no such file or name, or it is no Python.
    """
    file, _, name = what.rpartition(":")
    path = Path(file)
    if not path.is_file():
        raise ConfigError(f"{path}: no such file")
    spec = importlib.util.spec_from_file_location(f"codistill_user_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path}: cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, name):
        there = [key for key, value in vars(module).items() if cls is None or isinstance(value, cls)]
        raise ConfigError(f"{path}: {unknown_name('name', name, there)}")
    return getattr(module, name)

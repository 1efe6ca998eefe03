"""Config files: write a frozen dataclass to YAML, read it back, and find the differences between two configs.

See `files/yaml_text.py` for how YAML is read.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml

from codistill.errors import ConfigError
from codistill.files.hashes import text_sha256
from codistill.files.plain import CLASS_KEY, from_plain, to_plain
from codistill.files.writing import write_atomic
from codistill.files.yaml_text import MAX_CHARACTERS, RESOLVERS, parse_yaml

T = TypeVar("T")
CHANGEABLE = {"changeable": True}
"""Metadata of a dataclass field that may differ when a run is resumed (logging, paths, workers).

Used as `field(default=..., metadata=CHANGEABLE)`; layers below the engine write the dict itself.
"""


class _Dumper(yaml.SafeDumper):
    """Writes YAML, quoting text that YAML 1.1 or 1.2 would read as another type."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # PyYAML folds these unquoted.
    breaks = any(character in text for character in "\n\r\x85\u2028\u2029\ufeff")
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if breaks else None)


_Dumper.add_representer(str, _text)
for _tag, _pattern, _first in RESOLVERS:
    _Dumper.add_implicit_resolver(_tag, _pattern, _first)


def read_yaml(path: Path) -> Any:
    """Read a YAML file as plain values.

    Raises:
        ConfigError: if the file cannot be read, is not YAML, or exceeds the limits of `parse_yaml`; names the line.
    """
    try:
        if path.exists() and not path.is_file():
            raise ConfigError(f"{path} is not a regular file. Give the path of a YAML file.")
        with path.open("rb") as file:  # at most four bytes per character; longer texts are refused below
            data = file.read(4 * MAX_CHARACTERS + 4)
        return parse_yaml(data.decode("utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}. Give the path of a YAML file."
        ) from error
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"{path} is not a config in YAML: {error}") from error


def load_yaml(cls: type[T], path: Path | str) -> T:
    """Read a config of class `cls` from a YAML file; missing keys get their defaults.

    Raises:
        ConfigError: for an unknown key (with the nearest known one), or a value of the wrong type or out of range; the
            text names the file and the key's path.
    """
    path = Path(path)
    plain = read_yaml(path)
    try:
        return cast(T, from_plain(cls, {} if plain is None else plain))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def dump_yaml(config: Any) -> str:
    """Write a config as YAML text, from which `load_yaml` makes an equal config."""
    return yaml.dump(
        to_plain(config),
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=110,
        default_flow_style=None,
    )


def save_yaml(config: Any, path: Path | str) -> None:
    """Write a config to a YAML file, completely or not at all.

    Raises:
        CheckpointError: if the file cannot be written.
    """
    write_atomic(Path(path), dump_yaml(config))


def config_hash(config: Any) -> str:
    """SHA-256 of a config without its changeable fields; equal for equal trainings."""
    text = json.dumps(fixed_part(config), sort_keys=True)
    return text_sha256(text)


def fixed_part(config: Any) -> Any:
    """A config's plain values without the fields that may differ when a run is resumed."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        fields = (f for f in dataclasses.fields(config) if f.init and not f.metadata.get("changeable"))
        return {CLASS_KEY: type(config).__name__} | {
            f.name: fixed_part(getattr(config, f.name)) for f in fields
        }
    if isinstance(config, Mapping):
        return {key: fixed_part(value) for key, value in config.items()}
    if isinstance(config, (list, tuple)):
        return [fixed_part(value) for value in config]
    return to_plain(config)


def changed_fields(old: Any, new: Any) -> list[str]:
    """List the differences between two configs, without changeable fields: one text `path: old → new` per field."""
    before, after = _flatten(fixed_part(old)), _flatten(fixed_part(new))
    absent = "(absent)"
    return [
        f"{path}: {before.get(path, absent)} → {after.get(path, absent)}"
        for path in dict.fromkeys([*before, *after])
        if before.get(path, absent) != after.get(path, absent)
    ]


def _flatten(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, dict) and value:
        parts = [_flatten(item, f"{path}.{key}" if path else str(key)) for key, item in value.items()]
    elif isinstance(value, list) and value:
        parts = [_flatten(item, f"{path}[{index}]") for index, item in enumerate(value)]
    else:
        return {path: value}
    return {key: item for part in parts for key, item in part.items()}

"""Convert frozen dataclasses to plain values (dict, list, str, numbers, None) and back, by their type hints.

Supported are nested dataclasses, tuples, lists, `dict[str, …]`, Literal, Optional and unions, Path. If a field may be
one of several dataclasses, its class name is stored under the key `class`. Nothing is evaluated or imported by name.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from reprlib import Repr
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from codistill.errors import ConfigError, unknown_name

CLASS_KEY = "class"
_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60
_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", NoneType: "null"}


@cache
def field_hints(cls: type) -> dict[str, Any]:
    """Type hints of all fields that the constructor takes."""
    hints = get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls) if field.init}


def _members(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _several_classes(hint: Any) -> bool:
    return sum(dataclasses.is_dataclass(member) for member in _members(hint)) > 1


def to_plain(value: Any, hint: Any = None) -> Any:
    """Convert a config (or a part of it, with its type hint) to dicts, lists, text, numbers and None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        tag = {CLASS_KEY: type(value).__name__} if _several_classes(hint) else {}
        hints = field_hints(type(value))
        return tag | {name: to_plain(getattr(value, name), hints[name]) for name in hints}
    if isinstance(value, Mapping):
        return {key: to_plain(item, _item_hint(hint, Mapping)) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item, _item_hint(hint, Sequence)) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value


def flat(fields: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested plain values to dotted paths. Lists and empty mappings count as values.

    Raises:
        ConfigError: if a field is given twice, nested and by its path.
    """
    found: dict[str, Any] = {}
    for name, value in fields.items():
        path = f"{prefix}{name}"
        below = flat(value, f"{path}.") if isinstance(value, Mapping) and value else {path: value}
        if twice := found.keys() & below.keys():
            raise ConfigError(f"{min(twice)} is given twice, nested and by its path: leave one of them out")
        found |= below
    return found


def _item_hint(hint: Any, kind: type) -> Any:
    """Type hint of a container's items, as far as needed to decide whether their class name must be stored."""
    for member in _members(hint):
        origin = get_origin(member)
        if isinstance(origin, type) and issubclass(origin, kind):
            return get_args(member)[1 if kind is Mapping else 0]
    return None


def from_plain(hint: Any, value: Any, where: str = "") -> Any:
    """Convert a plain value to a type hint.

    Args:
        hint: a dataclass or any supported type hint.
        value: dicts, lists, text, numbers, None.
        where: dotted path of the value, for errors.

    Raises:
        ConfigError: for an unknown or missing key, or a value of the wrong type; the text names its path.
        TypeError: if the dataclass uses a type hint that a file cannot hold.
    """
    if hint is Any:
        return value
    if len(_members(hint)) > 1:
        return _union(hint, value, where)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return _dataclass(hint, value, where)
    if hint in _WORDS:
        return _scalar(hint, value, where)
    if hint is Path:
        return Path(_scalar(str, value, where))
    if get_origin(hint) is Literal:
        return _literal(get_args(hint), value, where)
    build = _CONTAINERS.get(get_origin(hint) or hint)
    if build is None:
        raise TypeError(
            f"{where or 'the config'} has the type hint {hint!r}, which a config file cannot hold"
        )
    return build(get_args(hint), value, where)


def _wrong(where: str, value: Any, wanted: str) -> ConfigError:
    shown = _SHORT.repr(value)  # shortened: the value may be large
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    return ConfigError(f"{where or 'the config'} is {shown} ({type(value).__name__}); expected {wanted}.")


def _scalar(kind: type, value: Any, where: str) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise _wrong(where, value, "a number") from None
    if type(value) is not kind:
        raise _wrong(where, value, _WORDS[kind])
    return value


def _literal(allowed: tuple[Any, ...], value: Any, where: str) -> Any:
    for choice in allowed:
        if type(choice) is type(value) and choice == value:
            return choice
    if isinstance(value, str):
        raise ConfigError(f"{where}: {unknown_name('value', value, map(str, allowed))}")
    raise _wrong(where, value, f"one of {', '.join(map(str, allowed))}")


def _union(hint: Any, value: Any, where: str) -> Any:
    choices = [member for member in _members(hint) if member is not NoneType]
    if value is None and len(choices) < len(_members(hint)):
        return None
    classes: dict[str, type] = {
        c.__name__: c for c in choices if isinstance(c, type) and dataclasses.is_dataclass(c)
    }
    if isinstance(value, dict) and len(classes) > 1:
        rest = dict(value)
        name = rest.pop(CLASS_KEY, None)
        if name not in classes:
            raise ConfigError(unknown_name(f"{where}.{CLASS_KEY}", str(name), classes))
        return _dataclass(classes[name], rest, where)
    if isinstance(value, dict) and classes:
        return _dataclass(next(iter(classes.values())), value, where)
    if len(choices) == 1:
        return from_plain(choices[0], value, where)
    errors: list[str] = []
    for choice in choices:
        try:
            return from_plain(choice, value, where)
        except ConfigError as error:
            errors.append(str(error))
    raise ConfigError(" Or: ".join(errors))


def _dataclass(cls: type, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise _wrong(where, value, f"keys of {cls.__name__}")
    prefix = f"{where}." if where else ""
    hints = field_hints(cls)
    for key in value:
        if key not in hints:
            raise ConfigError(unknown_name("option", f"{prefix}{key}", (prefix + name for name in hints)))
    parsed = {key: from_plain(hints[key], item, f"{prefix}{key}") for key, item in value.items()}
    for field in dataclasses.fields(cls):
        has_default = (
            field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        )
        if field.init and not has_default and field.name not in parsed:
            raise ConfigError(f"{prefix}{field.name} is missing; {cls.__name__} has no default for it.")
    try:
        return cls(**parsed)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}" if where else str(error)) from error


def _list_items(value: Any, where: str) -> list[Any]:
    if not isinstance(value, (list, tuple)):
        raise _wrong(where, value, "a list")
    return list(value)


def _tuple(hints: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    items = _list_items(value, where)
    if len(hints) == 2 and hints[1] is Ellipsis:
        hints = (hints[0],) * len(items)
    if hints and len(hints) != len(items):
        raise _wrong(where, value, f"a list of {len(hints)}")
    return tuple(
        from_plain(h, item, f"{where}[{i}]") for i, (h, item) in enumerate(zip(hints, items, strict=True))
    )


def _list(hints: tuple[Any, ...], value: Any, where: str) -> list[Any]:
    return [from_plain(hints[0], item, f"{where}[{i}]") for i, item in enumerate(_list_items(value, where))]


def _sequence(hints: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    return tuple(_list(hints, value, where))


def _mapping(hints: tuple[Any, ...], value: Any, where: str) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise _wrong(where, value, "a mapping")
    for key in value:
        _scalar(hints[0], key, f"a key of {where}")
    return {key: from_plain(hints[1], item, f"{where}.{key}") for key, item in value.items()}


_CONTAINERS: dict[Any, Callable[[tuple[Any, ...], Any, str], Any]] = {
    tuple: _tuple,
    list: _list,
    Sequence: _sequence,
    dict: _mapping,
    Mapping: _mapping,
}

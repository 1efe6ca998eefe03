"""Refuse a config that sets an option without effect; the error gives the reason and says what to change."""

import dataclasses
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from codistill.errors import ConfigError

Idle = tuple[str, str]
"""Dotted path of an option, and why it has no effect."""


def refuse_idle(config: Any, idle: Iterable[Idle], typed: Collection[str] = ()) -> None:
    """Refuse options without effect that differ from their defaults.

    Args:
        config: a dataclass, which may contain others.
        idle: its options without effect.
        typed: paths given on the command line; these are refused even at their default.

    Raises:
        ConfigError: for the first such option: why it has no effect, and what to change.
    """
    for path, reason in idle:
        value, default = _value_and_default(config, path)
        if path in typed or value != default:
            raise ConfigError(
                f"{path} = {_shown(value)} would have no effect: {reason}. Leave it out (its default is "
                f"{_shown(default)}), or change that."
            )


def under(section: str, names: Iterable[str], reason: str) -> Iterator[Idle]:
    """Fields of a section ("" for the config itself) that have no effect for the same reason."""
    return ((f"{section}.{name}" if section else name, reason) for name in names)


def _value_and_default(config: Any, path: str) -> tuple[Any, Any]:
    *sections, name = path.split(".")
    for section in sections:
        config = getattr(config, section)
    field = next(field for field in dataclasses.fields(config) if field.name == name)
    made = field.default_factory
    return getattr(config, name), field.default if made is dataclasses.MISSING else made()


def _shown(value: Any) -> str:
    return "null" if value is None else str(value)

"""Variables of a study: `${NAME}` in any text of its YAML is replaced by the value in the file or on the command line.

A text that consists of one variable only becomes a number if its value is one: `total_steps: "${steps}"`. Other
`$NAME`s are variables of the environment, as in recipes.
"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from codistill.errors import ConfigError, unknown_name

_USE = re.compile(r"\$\{([^}]*)\}")


def given(texts: Sequence[str], known: Mapping[str, str]) -> dict[str, str]:
    """Parse texts `NAME=VALUE`.

    Raises:
        ConfigError: for a text without `=`, or an unknown variable.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--set {text}: write NAME=VALUE")
        if name not in known:
            raise ConfigError(f"--set {text}: {unknown_name('variable', name, known)}")
        found[name] = value
    return found


def replaced(value: Any, variables: Mapping[str, str], where: str = "") -> Any:
    """Replace every `${NAME}` that has a value, in plain values. Values of variables may use other variables.

    Raises:
        ConfigError: for a variable that is unknown.
    """
    if isinstance(value, str):
        text = _text(value, variables, where, ())
        return _number(text) if _USE.fullmatch(value) else text
    if isinstance(value, dict):
        return {
            key: item if (where, key) == ("", "variables") else replaced(item, variables, _below(where, key))
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [replaced(item, variables, f"{where}[{number}]") for number, item in enumerate(value)]
    return value


def refuse_unused(names: Iterable[str], value: Mapping[str, Any], variables: Mapping[str, str]) -> None:
    """Refuse to set variables that no text of the study uses.

    Args:
        names: variables that are set.
        value: the study as plain values, before replacement.
        variables: values of the study's variables, which may use others.

    Raises:
        ConfigError: for the first such variable.
    """
    used = set(_USE.findall(repr({key: part for key, part in value.items() if key != "variables"})))
    while more := {name for one in used & variables.keys() for name in _USE.findall(variables[one])} - used:
        used |= more
    for name in names:
        if name not in used:
            raise ConfigError(f"--set {name} has no effect: nothing in the study uses ${{{name}}}")


def _below(where: str, key: Any) -> str:
    return f"{where}.{key}" if where else str(key)


def _text(text: str, variables: Mapping[str, str], where: str, within: tuple[str, ...]) -> str:
    def value_of(match: re.Match[str]) -> str:
        name = match[1]
        if name not in variables:
            if name in os.environ:
                return match[0]
            raise ConfigError(f"{where}: {unknown_name('variable', name, variables)}")
        if name in within:
            raise ConfigError(f"variables.{name} uses itself: {' → '.join((*within, name))}")
        if not variables[name]:
            return match[0]
        return _text(variables[name], variables, where, (*within, name))

    return _USE.sub(value_of, text)


def _number(text: str) -> int | float | str:
    if not text[-1:].isdigit():  # `nan`, `inf`
        return text
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text


def refuse_missing(value: Any, variables: Mapping[str, str], where: str) -> None:
    """Refuse texts in which a variable still has no value.

    Args:
        value: plain values, after replacement.
        variables: of the study.
        where: part of the study that needs them, for the error message.

    Raises:
        ConfigError: names the option that sets the variable.
    """
    if isinstance(value, str):
        for match in _USE.finditer(value):
            if match[1] in variables:
                raise ConfigError(f"{where} needs the variable {match[1]}: add --set {match[1]}=…")
    for item in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        refuse_missing(item, variables, where)

"""Parse `WHAT,key=value,…`: the user's text in, the name and its checked options out.

There is one list of options for all kinds of encoder; each kind says which of them it accepts.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from codistill.errors import ConfigError, unknown_name
from codistill.types import IMAGENET_MEAN, IMAGENET_STD
from codistill.weights.stated import Stated

_NORMALIZATIONS = {"imagenet": (IMAGENET_MEAN, IMAGENET_STD), "none": ((0.0,) * 3, (1.0,) * 3)}


def _whole(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError("a whole number above 0")
    return int(text)


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise ValueError("a number of 0 or more")
    return value


def _yes(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("true or false")
    return text.lower() == "true"


def _word(text: str) -> str:
    if not text:
        raise ValueError("a word")
    return text


def _three(place: int) -> Callable[[str], tuple[float, ...]]:
    """Parser of a mean (place 0) or std (place 1): R/G/B, one number for all three, or a normalization's name."""

    def parse(text: str) -> tuple[float, ...]:
        if text.lower() in _NORMALIZATIONS:
            return _NORMALIZATIONS[text.lower()][place]
        try:
            values = tuple(float(part) for part in text.split("/"))
        except ValueError:
            values = ()
        values = values * 3 if len(values) == 1 else values
        if len(values) != 3 or not all(map(math.isfinite, values)) or (place == 1 and min(values) <= 0):
            names = ", ".join(_NORMALIZATIONS)
            raise ValueError(f"three numbers as 0.5/0.5/0.5, one for all, or one of {names}")
        return values

    return parse


PARSERS: dict[str, Callable[[str], Any]] = {
    "num_heads": _whole,
    "image_size": _whole,
    "window": _whole,
    "num_global": _whole,
    "like": _word,
    "mean": _three(0),
    "std": _three(1),
    "activation": _word,
    "norm_eps": _number,
    "position_offset": _number,
    "position_antialias": _yes,
    "summary": _word,
    "pretrained": _yes,
    "projector": _word,
    "register_neurons": _word,
}
"""Every option with the parser of its value; the parser's error names the allowed values."""


STATED = tuple(field.name for field in fields(Stated))
"""Facts about a weights file that are not in its tensors."""

CHANGES = ("image_size", "window", "num_global")
"""Options that change an encoder, see `encoders/changed.py`."""

FILE_OPTIONS = (*CHANGES, *STATED)
"""Options of files and known names."""


def split_options(text: str, allowed: Iterable[str] = FILE_OPTIONS) -> tuple[str, dict[str, Any]]:
    """Split a text such as `file.pt,num_heads=3` into the name and its options.

    Raises:
        ConfigError: for an unknown or repeated option, or a wrong value.
    """
    allowed = tuple(allowed)
    options: dict[str, Any] = {}
    while "=" in (part := text.rpartition(",")[2]) and "," in text:
        key, _, value = part.partition("=")
        if options and Path(text).expanduser().exists():
            break
        if key not in allowed:
            raise ConfigError(unknown_name(f"option in {text!r}:", key, allowed))
        if key in options:
            raise ConfigError(f"option {key} is given twice in {text!r}")
        try:
            options[key] = PARSERS[key](value)
        except ValueError as error:
            raise ConfigError(
                f"option {key} in {text!r} must be {error}; got {value!r}. Example: {key}={_EXAMPLES[key]}"
            ) from None
        text = text.rpartition(",")[0]
    return text, options


def split_precision(text: str) -> tuple[str, str | None]:
    """Split `WHAT,…,precision=P` into the text without the precision, and P (None if there is none)."""
    if Path(text).expanduser().exists() or text.count(_PRECISION) != 1:
        return text, None
    before, _, rest = text.partition(_PRECISION)
    value, comma, after = rest.partition(",")
    return before + comma + after, value


_PRECISION = ",precision="
_EXAMPLES = {
    "num_heads": "6",
    "image_size": "448",
    "window": "16",
    "num_global": "4",
    "like": "dinov2",
    "mean": "0.5/0.5/0.5",
    "std": "0.5/0.5/0.5",
    "activation": "gelu",
    "norm_eps": "1e-6",
    "position_offset": "0.1",
    "position_antialias": "true",
    "summary": "pooled",
    "pretrained": "false",
    "projector": "mine.py:Mine",
    "register_neurons": "neurons.json",
}


def stated_of(options: Mapping[str, Any]) -> Stated:
    """Select the options that are facts about a weights file."""
    return Stated(**{key: value for key, value in options.items() if key in STATED})


def as_options(allowed: Iterable[str], **given: Any) -> dict[str, Any]:
    """Keyword arguments as options: None is left out, texts are parsed as in `split_options`.

    Raises:
        ConfigError: for an unknown option or a wrong value.
    """
    options: dict[str, Any] = {}
    for key, value in given.items():
        if value is None:
            continue
        if key not in allowed:
            raise ConfigError(unknown_name("option", key, allowed))
        text = value if isinstance(value, str) else _as_text(value)
        options |= split_options(f",{key}={text}", [key])[1]
    return options


def _as_text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "/".join(map(str, value))
    return str(value)

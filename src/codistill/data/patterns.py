"""Rules on an image's name (its relative path): which images of a source are used, and which are turned.

Patterns are globs in which `*` also matches `/`: `train/*`, `*_0012*.jpg`, `[ab]*`. `@imagenet1k` matches the class
folders of ImageNet-1K, which ImageNet-21K contains.
"""

import fnmatch
import json
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.resources import files

from codistill.errors import ConfigError, unknown_name

IMAGENET_1K = "@imagenet1k"


def _never(_: str) -> bool:
    return False


def _closeup(name: str) -> bool:
    return "closeup" in name


ROTATIONS: dict[str, Callable[[str], bool]] = {"none": _never, "closeup": _closeup}
"""By name: whether the image of a given name is turned clockwise by 90 degrees (BEDLAM's close-up views)."""


@lru_cache(maxsize=1)
def imagenet_1k_classes() -> frozenset[str]:
    """The 1000 WordNet ids of ImageNet-1K (ILSVRC 2012)."""
    text = files("codistill.data").joinpath("imagenet1k_wnids.json").read_text(encoding="utf-8")
    return frozenset(json.loads(text))


def check_patterns(patterns: Sequence[str]) -> None:
    """Raise ConfigError for an empty pattern or an unknown @word."""
    for pattern in patterns:
        if not pattern:
            raise ConfigError("an include or exclude pattern is empty; write e.g. 'train/*'")
        if pattern.startswith("@") and pattern != IMAGENET_1K:
            raise ConfigError(unknown_name("named pattern", pattern, [IMAGENET_1K]))


def matcher(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Return a function that says whether a name matches any of the patterns."""
    globs = [pattern for pattern in patterns if not pattern.startswith("@")]
    match = re.compile("|".join(map(fnmatch.translate, globs))).match if globs else lambda _: None
    if IMAGENET_1K not in patterns:
        return lambda name: match(name) is not None
    classes = imagenet_1k_classes()
    return lambda name: not classes.isdisjoint(name.split("/")[:-1]) or match(name) is not None


def selector(include: Sequence[str], exclude: Sequence[str]) -> Callable[[str], bool] | None:
    """Return a function that says whether a name is used; None if all names are."""
    if not include and not exclude:
        return None
    included = matcher(include) if include else lambda _: True
    excluded = matcher(exclude) if exclude else _never
    return lambda name: included(name) and not excluded(name)

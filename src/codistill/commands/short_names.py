"""Short names of runs for tables and folders: as many last parts of their paths as make them distinct."""

import os
from collections.abc import Sequence
from pathlib import Path

from codistill.errors import ConfigError


def short_names(runs: Sequence[str]) -> list[str]:
    """Names such as `training` for one run, or `row1/0/training`, `row2/0/training` for several of that name.

    Raises:
        ConfigError: if a run is named twice.
    """
    parts = [Path(os.path.abspath(run)).parts for run in runs]  # noqa: PTH100  (links are not followed)
    twice = sorted({run for run, one in zip(runs, parts, strict=True) if parts.count(one) > 1})
    if twice:
        raise ConfigError(f"{', '.join(twice)}: the same was named twice; name each once")
    length = 1
    while len({one[-length:] for one in parts}) < len(parts):
        length += 1
    return ["/".join(one[-length:]) for one in parts]

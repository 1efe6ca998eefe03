"""Where predictions for image files go: one name per image in a folder, without two images sharing one."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from codistill.errors import ConfigError, DataError


def out_paths(images: Sequence[str], out: Path) -> list[Path]:
    """Per image a path in the folder, to be given a suffix with `with_suffix`; nothing is written.

    Raises:
        ConfigError: if two images have one name.
    """
    stems = [Path(image).stem for image in images]
    twice = [stem for stem, count in Counter(stems).items() if count > 1]
    if twice:
        raise ConfigError(
            f"two images are called {twice[0]!r}: their results would overwrite each other; run them apart"
        )
    return [out / f"{stem}.out" for stem in stems]


def save_array(path: Path, values: np.ndarray) -> None:
    """Write an array.

    Raises:
        DataError: if that is not possible.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, values)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error})") from error

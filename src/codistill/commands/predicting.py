"""Common parts of the prediction commands: finding images, naming results, and reporting images that cannot be used.

A task predicts one image. Files, folders and patterns, the names of results, printed lines or JSON (`--json`), and the
exit code are handled here.
"""

import glob
import hashlib
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from codistill.errors import ConfigError, DataError
from codistill.files.listing import IMAGE_SUFFIXES, is_foreign, list_files
from codistill.files.writing import check_writable, make_directory
from codistill.imaging import read_rgb
from codistill.tasks.task import ImageFile, Predicted

SOME_FAILED = 1
"""Exit code if some images could not be used; the results of the others are written."""


def find_images(named: Sequence[str], suffixes: Sequence[str] = IMAGE_SUFFIXES) -> list[ImageFile]:
    """Find the images of files, folders and patterns, each once, in the order given.

    A result has the name of its image without the suffix; for images in a folder, with the path relative to that
    folder. If names are equal, they keep the suffix (`a.jpg` and `a.png`) or the folders in which they differ, or get a
    number.

    Args:
        named: files, folders, patterns.
        suffixes: suffixes of the files that are used from folders.

    Raises:
        ConfigError: if a text is not a file, folder or pattern, or matches no image.
    """
    found: dict[str, tuple[Path, str]] = {}
    for name in named:
        for path, short in _meant_by(name, suffixes):
            found.setdefault(os.path.abspath(path), (path, short))  # noqa: PTH100  (links are not followed)
    whole = list(found)
    shared = os.path.commonpath([os.path.dirname(path) for path in whole])  # noqa: PTH120
    stems = [str(Path(short).with_suffix("")) for _, short in found.values()]
    longer = [short for _, short in found.values()]
    longest = [os.path.relpath(path, shared) for path in whole]
    names = _numbered(_distinct(_distinct(stems, longer), longest))
    return [ImageFile(path, name) for (path, _), name in zip(found.values(), names, strict=True)]


def _distinct(names: list[str], longer: list[str]) -> list[str]:
    """The names, with the longer form for duplicates; case is ignored, as in some file systems."""
    count = Counter(name.casefold() for name in names)
    return [name if count[name.casefold()] == 1 else long for name, long in zip(names, longer, strict=True)]


def _numbered(names: list[str]) -> list[str]:
    """The names; of names that are equal up to case, the second gets the suffix -2, and so on."""
    seen: Counter[str] = Counter()
    out = []
    for name in names:
        seen[name.casefold()] += 1
        out.append(name if seen[name.casefold()] == 1 else f"{name}-{seen[name.casefold()]}")
    return out


def _meant_by(name: str, suffixes: Sequence[str]) -> list[tuple[Path, str]]:
    """Images matched by a text, and the name of each relative to the given folder."""
    if not name:  # an unset variable of a shell; a `Path` takes it for the current folder
        raise ConfigError("an image, folder or pattern has an empty name; the current folder is called .")
    path = Path(name).expanduser()
    if path.is_dir():
        files = list_files(path, suffixes, deep=True)
        if not files:
            raise ConfigError(
                f"{name}: there is no image in this folder (known suffixes: {' '.join(suffixes)})"
            )
        return [(file, str(file.relative_to(path))) for file in files]
    if glob.has_magic(name) and not path.exists():
        matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207
        files = [match for match in matches if match.is_file() and not is_foreign(match.name)]
        if not files:
            raise ConfigError(f"{name}: no file fits this pattern")
        return [(file, file.name) for file in files]
    return [(path, path.name)]


def check_results(images: Sequence[ImageFile], results: Sequence[Path]) -> None:
    """Refuse to start if a result would overwrite one of the images, or cannot be written.

    Raises:
        ConfigError: if one would be overwritten (the text names the first), or a file is in the place of its folder.
        WriteError: if a folder cannot be written.
    """
    there = [path for path in results if path.exists()]
    given = {_identity(image.path) for image in images if image.path.exists()} if there else set()
    for path in there:
        if _identity(path) in given:
            raise ConfigError(
                f"{path} is one of the given files, and a result would be written over it: choose another --out"
            )
    for folder in dict.fromkeys(path.parent for path in results):
        check_writable(folder)


def _identity(path: Path) -> tuple[int, int]:
    """Identity of a file, independent of its path, which may differ by links and case."""
    found = path.stat()
    return found.st_dev, found.st_ino


def say_shipped(model: str, option: str) -> None:
    """Say on standard error which model that ships answers, if the command line names none."""
    print(f"with {model}, a small model that ships; {option} names another one", file=sys.stderr)


def say_repeated(paths: Sequence[Path], pictures: Sequence[np.ndarray]) -> None:
    """Say on standard error which pictures of one place equal an earlier one, and so show nothing new of it."""
    seen: dict[tuple[tuple[int, ...], bytes], Path] = {}
    for path, pixels in zip(paths, pictures, strict=True):
        key = (pixels.shape, hashlib.sha256(pixels.tobytes()).digest())
        if key in seen:
            print(f"{path} is the same picture as {seen[key]}: it adds no view", file=sys.stderr)
        seen.setdefault(key, path)


def run_predictions(
    images: Sequence[ImageFile],
    out: Path,
    predict: Callable[[np.ndarray, ImageFile], Predicted],
    *,
    as_json: bool = False,
) -> int:
    """Predict image by image; images that cannot be used are reported and skipped.

    Args:
        images: from `find_images`.
        out: the folder of results.
        predict: function from pixels (row, column, 3) uint8 and the image's names to a `Predicted`. Its errors end the
            command, because they are not caused by the image (a full disk, for example).
        as_json: print one JSON object per image instead of a line of text.

    Returns:
        The exit code: 0, `SOME_FAILED` if some images could not be used, 2 if none could.
    """
    failed = 0
    for image in images:
        pixels = _pixels(image)
        if isinstance(pixels, str):
            failed += 1
            if as_json:
                print(json.dumps({"image": str(image.path), "error": pixels}))
            continue
        for_folder = image.within(out, "").parent
        make_directory(for_folder)
        made = predict(pixels, image)
        if as_json:
            files = [str(file) for file in made.files]
            print(json.dumps({"image": str(image.path), "files": files, **made.facts}, allow_nan=False))
        else:
            print(f"{made.files[0]}: {made.text}")
    return exit_code(failed, len(images))


def exit_code(failed: int, total: int) -> int:
    """Exit code: 0, `SOME_FAILED` if some images could not be used, 2 if none could; prints how many failed."""
    if failed:
        print(f"{failed} of {total} images could not be used, see above", file=sys.stderr)
    return 0 if not failed else SOME_FAILED if failed < total else 2


def say_passed_over(path: str | Path, reason: str) -> None:
    """Say on standard error which file cannot be used, and why; most reasons start with the file."""
    named = reason if reason.startswith(f"{path}: ") else f"{path}: {reason}"
    print(f"passed over {named}", file=sys.stderr)


def _pixels(image: ImageFile) -> np.ndarray | str:
    """An image's pixels (row, column, 3) uint8, or the reason why it cannot be read, which is also printed."""
    try:
        return read_rgb(image.path)
    except (DataError, MemoryError) as error:
        reason = str(error) or "not enough memory to decode it"
        say_passed_over(image.path, reason)
        return reason

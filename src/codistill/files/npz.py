"""Write and read the arrays of an `.npz` file. Reading never executes anything in the file.

In: a file. Out: its arrays by name, including text that was stored as Python objects. Label files keep names and
genders as object arrays, which are pickles; these are read by an unpickler that accepts only numpy's arrays, dtypes and
text.
"""

import io
import pickle
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from codistill.errors import DataError
from codistill.files.writing import atomically

_PLAIN = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy", "str_"),
    ("_codecs", "encode"),
}
MAX_PICKLE = 1 << 28
"""Largest size of an object array in bytes: ten million names."""

DAMAGE = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, AttributeError, NotImplementedError)
"""What reading a file that is missing or damaged may raise."""
_DAMAGE_IN_OBJECTS = (pickle.UnpicklingError, KeyError, IndexError, TypeError, ImportError, MemoryError)


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _PLAIN:
            raise pickle.UnpicklingError(f"it holds {module}.{name}, which is neither text nor an array")
        return super().find_class(module, name)


def write_npz(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write named arrays, compressed; see `writing.atomically`."""
    with atomically(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def read_npz(path: str | PathLike[str], names: Sequence[str]) -> dict[str, np.ndarray]:
    """Read those of the named arrays that the file has; arrays of Python objects become arrays of text.

    Raises:
        DataError: if the file is missing, damaged, or one of these arrays is neither numbers nor text.
    """
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError("it is a single array, not an archive of named ones")
        with archive:
            return {name: _array(archive, name) for name in names if name in archive.files}
    except (*DAMAGE, *_DAMAGE_IN_OBJECTS) as error:
        raise DataError(
            f"{path}: cannot be read as an .npz file of plain arrays ({str(error) or type(error).__name__})"
        ) from error


def _array(archive: Any, name: str) -> np.ndarray:
    member = f"{name}.npy" if f"{name}.npy" in archive.zip.namelist() else name
    with archive.zip.open(member) as file:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(file)
        if not dtype.hasobject:
            return archive[name]
        content = file.read(MAX_PICKLE + 1)
    if len(content) > MAX_PICKLE:
        raise ValueError(f"the array of objects {name!r} is larger than {MAX_PICKLE:,} bytes")
    found = _PlainUnpickler(io.BytesIO(content)).load()
    if not isinstance(found, np.ndarray) or found.shape != shape:
        raise ValueError(f"the array of objects {name!r} is no array of the shape it claims")
    wrong = next((value for value in found.flat if not isinstance(value, (str, bytes, type(None)))), None)
    if wrong is not None:
        raise ValueError(f"the array of objects {name!r} holds a {type(wrong).__name__}, not text")
    return np.array([_text(value) for value in found.flat], dtype=str).reshape(shape)


def _text(value: str | bytes | None) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")

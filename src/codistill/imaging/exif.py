"""Read orientation and focal length from EXIF data.

EXIF is a TIFF structure (EXIF 2.32 §4.5): a byte order, then directories of 12-byte entries (tag, type, count, value or
its offset). Real files have any integer type, either byte order, offsets outside of the file, and loops; invalid
entries count as missing. No function here raises an error.
"""

import struct

ORIENTATION = 0x0112
_EXIF_FOLDER, _FOCAL_35MM = 0x8769, 0xA405
_LENSES = (5.0, 2000.0)
"""Shortest and longest focal length on 35 mm film, in millimetres, that is believed."""
_PREFIX = b"Exif\0\0"

_NUMBERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d", 13: "I"}
"""struct's letters for TIFF's number types: byte, short, long, their signed kinds, float, double."""
_RATIONALS = {5: "I", 10: "i"}


def exif_orientation(exif: bytes) -> int:
    """Orientation (1 to 8) in an EXIF block, with or without its prefix `Exif`; 1 if missing or invalid."""
    tiff = exif.removeprefix(_PREFIX)
    value = _entry(tiff, _first_folder(tiff), ORIENTATION)
    return int(value) if value is not None and value in range(1, 9) else 1


def exif_focal(exif: bytes) -> float | None:
    """Focal length on 35 mm film in millimetres; None if missing or no lens has it (0 means unknown in EXIF)."""
    tiff = exif.removeprefix(_PREFIX)
    folder = _entry(tiff, _first_folder(tiff), _EXIF_FOLDER)
    value = _entry(tiff, int(folder), _FOCAL_35MM) if folder is not None and 0 < folder < len(tiff) else None
    return float(value) if value is not None and _LENSES[0] <= value <= _LENSES[1] else None


def _order(tiff: bytes) -> str | None:
    return {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])


def _number(tiff: bytes, place: int, letter: str) -> int | float | None:
    form = f"{_order(tiff)}{letter}"
    inside = 0 <= place <= len(tiff) - struct.calcsize(form)
    return struct.unpack_from(form, tiff, place)[0] if inside else None


def _first_folder(tiff: bytes) -> int:
    """Offset of the first directory; 0, the offset of the header, if there is none."""
    return int(_number(tiff, 4, "I") or 0) if _order(tiff) else 0


def _entry(tiff: bytes, folder: int, tag: int) -> int | float | None:
    """The single number under a tag of the directory at `folder`, or None."""
    count = _number(tiff, folder, "H") if folder >= 8 else None
    for index in range(int(count or 0)):
        start = folder + 2 + 12 * index
        if start + 12 > len(tiff):
            return None
        if _number(tiff, start, "H") == tag:
            return _value(tiff, start)
    return None


def _value(tiff: bytes, entry: int) -> int | float | None:
    kind, count = int(_number(tiff, entry + 2, "H") or 0), int(_number(tiff, entry + 4, "I") or 0)
    if count == 0:
        return None
    if kind in _RATIONALS:
        place = int(_number(tiff, entry + 8, "I") or 0)
        top, bottom = (_number(tiff, place + 4 * half, _RATIONALS[kind]) for half in (0, 1))
        return top / bottom if top is not None and bottom else None
    if kind not in _NUMBERS:
        return None
    fits = count * struct.calcsize(f"={_NUMBERS[kind]}") <= 4
    place = entry + 8 if fits else int(_number(tiff, entry + 8, "I") or 0)
    return _number(tiff, place, _NUMBERS[kind]) if fits or count == 1 else None

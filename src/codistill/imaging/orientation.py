"""EXIF orientation: read from the bytes of a JPEG, and applied to an array.

The tag (0x0112, EXIF 2.32 §4.6.4) says where row 0 and column 0 of the stored pixels belong; 1 means upright.
"""

import numpy as np

_TAG = 0x0112
_START_OF_SCAN, _APP1 = 0xDA, 0xE1


def jpeg_orientation(data: bytes) -> int:
    """Orientation (1 to 8) in a JPEG's EXIF segment; 1 where there is none or it makes no sense."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        if marker == _START_OF_SCAN:
            break
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        segment = data[position + 4 : position + 2 + length]
        if marker == _APP1 and segment.startswith(b"Exif\0\0"):
            return _tiff_orientation(segment[6:])
        position += 2 + max(length, 2)
    return 1


def _tiff_orientation(tiff: bytes) -> int:
    if tiff[:2] not in (b"II", b"MM"):
        return 1
    order = "little" if tiff[:2] == b"II" else "big"

    def number(start: int, size: int) -> int:
        return int.from_bytes(tiff[start : start + size], order)

    first = number(4, 4)
    for index in range(number(first, 2)):
        entry = first + 2 + 12 * index
        if entry + 12 > len(tiff):
            break
        if number(entry, 2) == _TAG:
            value = number(entry + 8, 2)
            return value if 1 <= value <= 8 else 1
    return 1


def swaps_sides(orientation: int) -> bool:
    """Whether the upright image is as wide as the stored one is high."""
    return orientation >= 5


def orient(image: np.ndarray, orientation: int) -> np.ndarray:
    """Turn stored pixels (row, column, ...) upright; a view, not a copy."""
    if swaps_sides(orientation):
        image = image.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return image

"""Decode JPEGs with libjpeg-turbo (simplejpeg), directly at 1/1, 1/2, 1/4 or 1/8 of their size.

The inverse DCT of a smaller block costs less than that of a full one, and the smaller image is cheaper to resize. Only
the three halvings have vectorized kernels, so other factors are not used.
"""

import re
from collections.abc import Iterator

import numpy as np
import simplejpeg

REDUCTIONS = (8, 4, 2, 1)
JPEG_START = b"\xff\xd8\xff"

MAX_SCANS = 500
"""Largest number of scans (passes over the pixels) of a JPEG; encoders write about ten.

libjpeg-turbo's own tests use the same limit.
"""

_START_OF_SCAN, _APP1, _END = 0xDA, 0xE1, 0xD9
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


def covering_reduction(available: tuple[int, int], wanted: tuple[int, int]) -> int:
    """Largest reduction at which a region of `available` pixels still has at least `wanted` (rows, columns)."""
    for reduction in REDUCTIONS:
        if all(have >= reduction * want for have, want in zip(available, wanted, strict=True)):
            return reduction
    return 1


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Stored (rows, columns) of a JPEG that simplejpeg can convert to RGB; None for CMYK and for damaged headers.

    simplejpeg raises KeyError for a chroma subsampling that it has no name for.
    """
    try:
        height, width, colour, _ = simplejpeg.decode_jpeg_header(data, strict=False)
    except (ValueError, KeyError):
        return None
    return None if colour in ("CMYK", "YCCK") else (int(height), int(width))


def decode_jpeg(data: bytes, size: tuple[int, int], reduction: int) -> np.ndarray | None:
    """Stored pixels (row, column, 3) at 1/reduction of `size`, rounded up; None if the decoder warns."""
    rows, columns = (-(-side // reduction) for side in size)
    try:
        return simplejpeg.decode_jpeg(data, min_height=rows, min_width=columns, min_factor=reduction)
    except (ValueError, KeyError):
        return None


def jpeg_exif(data: bytes) -> bytes:
    """The first EXIF segment before the pixels of a JPEG; empty if there is none."""
    for marker, start, stop in _segments(data):
        if marker == _APP1 and data[start : start + 6] == b"Exif\0\0":
            return data[start:stop]
    return b""


def too_many_scans(data: bytes) -> bool:
    """Whether a JPEG with tiny scans makes its decoder pass over all pixels more than `MAX_SCANS` times."""
    progressive, components = False, 0
    for marker, start, stop in _segments(data):
        if marker in _FRAMES and stop - start >= 6:
            progressive, components = marker not in (0xC0, 0xC1), data[start + 5]
        if marker == _START_OF_SCAN:
            if not progressive and data[start : start + 1] == bytes([components]):
                return False  # all components are in one scan, so the rest is not read
            return _count_scans(data, stop) > MAX_SCANS
    return False


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and stop of each segment's content, up to the first scan's header."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        stop = position + 2 + max(2, int.from_bytes(data[position + 2 : position + 4], "big"))
        yield marker, position + 4, stop
        if marker == _START_OF_SCAN:
            break
        position = stop


def _count_scans(data: bytes, position: int) -> int:
    scans = 1
    while scans <= MAX_SCANS and (found := _NEXT_MARKER.search(data, position)):
        marker = data[found.end() - 1]
        if marker == _END:
            break
        scans += marker == _START_OF_SCAN
        position = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
    return scans

"""Reduce a PNG to what its pixels need, so that nothing else in it can fail, cost memory, or be guessed.

Texts, colour profiles and further frames may be compressed or damaged in files that every viewer shows; no pixel
depends on them here. As in libpng, an ancillary chunk (PNG specification §5.4: lower-case first letter) with a wrong
checksum is dropped; in a critical chunk it is an error.
"""

import struct
import zlib
from dataclasses import dataclass

from codistill.errors import DataError

PNG_START = b"\x89PNG\r\n\x1a\n"
_MAX_CHUNKS = 1 << 18
_END = b"\0\0\0\0IEND\xaeB`\x82"
_PIXELS = (b"IHDR", b"PLTE", b"IDAT")
_EXTRA: tuple[bytes, ...] = (b"tRNS", b"sBIT", b"eXIf")


@dataclass(frozen=True)
class Png:
    """The parts of a PNG file that are kept.

    Attributes:
        data: a PNG file with only header, palette, transparency and pixels.
        exif: the EXIF block, from anywhere in the file; empty if there is none.
        depth: bits per sample as stored: 1, 2, 4, 8 or 16.
        colour: PNG's colour type: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and alpha.
        significant: significant bits of each channel, if in the file (sBIT); else empty.
    """

    data: bytes
    exif: bytes
    depth: int
    colour: int
    significant: tuple[int, ...]


def reduce_png(data: bytes, name: str) -> Png:
    """Keep only what the pixels need.

    Raises:
        DataError: if the file does not start with a PNG's header, or consists of far too many chunks.
    """
    if len(data) < 33 or data[12:16] != b"IHDR":
        raise DataError(f"{name}: a damaged PNG: it does not start with its header")
    kept, position, pixels = [PNG_START], len(PNG_START), False
    extra: dict[bytes, bytes] = dict.fromkeys(_EXTRA, b"")
    for _ in range(_MAX_CHUNKS):
        length, kind = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8]
        stop = position + 12 + length
        if kind == b"IEND" or (pixels and kind != b"IDAT" and stop > len(data)):
            break  # after the pixels, a truncated chunk does not matter
        if len(kind) < 4 or stop > len(data):
            kept.append(data[position:])  # truncated within its pixels: the reader will raise the error
            return _parts(data, kept, extra)
        if kind in _PIXELS:
            pixels = pixels or kind == b"IDAT"
            kept.append(data[position:stop])
        elif kind in extra and zlib.crc32(data[position + 4 : stop - 4]) == _crc(data, stop):
            extra[kind] = data[position + 8 : stop - 4]
            if kind == b"tRNS" and not pixels:
                kept.append(data[position:stop])
        position = stop
    else:
        raise DataError(f"{name}: a damaged PNG: more than {_MAX_CHUNKS} chunks")
    return _parts(data, [*kept, _END], extra)


def _crc(data: bytes, stop: int) -> int:
    return struct.unpack(">I", data[stop - 4 : stop])[0]


def _parts(data: bytes, kept: list[bytes], extra: dict[bytes, bytes]) -> Png:
    depth, colour = data[24], data[25]
    channels = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}.get(colour, 0)
    significant = tuple(extra[b"sBIT"])
    sensible = len(significant) == channels and all(1 <= bits <= max(depth, 8) for bits in significant)
    return Png(b"".join(kept), extra[b"eXIf"], depth, colour, significant if sensible else ())

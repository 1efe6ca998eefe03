"""Image files made byte by byte: PNG chunks, EXIF directories, JPEG segments."""

import io
import struct
import zlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

PNG_START = b"\x89PNG\r\n\x1a\n"
_COLOUR = {1: 0, 2: 4, 3: 2, 4: 6}
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}


def encode(image: Image.Image | np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes, *, good: bool = True) -> bytes:
    """A PNG chunk, with its checksum or a wrong one."""
    return (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body) ^ (not good))
    )


def png(
    samples: np.ndarray, depth: int = 16, before: bytes = b"", after: bytes = b"", colour: int = -1
) -> bytes:
    """A PNG of (row, column[, channel]) samples of 8 or 16 bits, or of 1, 2, 4 packed ones, with more chunks."""
    rows, columns = samples.shape[:2]
    channels = samples.shape[2] if samples.ndim == 3 else 1
    if depth < 8:
        bits = np.unpackbits(samples.astype(np.uint8)[..., None], axis=-1)[..., 8 - depth :]
        lines = np.packbits(bits.reshape(rows, -1), axis=1)
    else:
        lines = samples.reshape(rows, -1).astype(">u2" if depth == 16 else np.uint8)
    header = struct.pack(
        ">IIBBBBB", columns, rows, depth, _COLOUR[channels] if colour < 0 else colour, 0, 0, 0
    )
    pixels = zlib.compress(b"".join(b"\0" + line.tobytes() for line in lines))
    return PNG_START + chunk(b"IHDR", header) + before + chunk(b"IDAT", pixels) + after + chunk(b"IEND", b"")


def insert_chunks(data: bytes, chunks: bytes) -> bytes:
    """Chunks right behind a PNG's header."""
    return data[:33] + chunks + data[33:]


def exif(order: str, entries: Sequence[tuple[int, int, int, bytes]], start: int = 8) -> bytes:
    """A TIFF structure of one directory: entries (tag, type, count, four bytes), in byte order `<` or `>`."""
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, start) + b"\0" * (start - 8)
    body = b"".join(struct.pack(order + "HHI", *entry[:3]) + entry[3] for entry in entries)
    return head + struct.pack(order + "H", len(entries)) + body + struct.pack(order + "I", 0)


def field(order: str, kind: int, value: int) -> bytes:
    """The four bytes of one small number of a TIFF type."""
    letter = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}[kind]
    return struct.pack(order + letter, value).ljust(4, b"\0")


def app1(body: bytes) -> bytes:
    """A JPEG segment."""
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


def with_exif(data: bytes, tiff: bytes) -> bytes:
    """A JPEG, PNG or (lossless, simple) WebP file with an EXIF block."""
    if data[:2] == b"\xff\xd8":
        return data[:2] + app1(b"Exif\0\0" + tiff) + data[2:]
    if data[:4] == b"RIFF":
        with Image.open(io.BytesIO(data)) as image:
            return encode(image, "WEBP", exif=tiff, lossless=True)
    return insert_chunks(data, chunk(b"eXIf", tiff))

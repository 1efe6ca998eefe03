"""One binary message from a JSON header and arrays, which a browser reads without a copy.

    bytes 0-3   length of the header, little-endian
    header      JSON; `blobs` lists each array's name, type, shape, offset, bytes, and whether it is deflated
    arrays      each starts at a multiple of four bytes

A client's messages have the same first two parts, followed by the pictures, one after the other (`messages.py`).
"""

import json
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

PREFIX = 4
TYPES = {"uint8": "u1", "int8": "i1", "uint16": "<u2", "uint32": "<u4", "float32": "<f4"}
"""Types that client and server support, in NumPy's notation."""

_FAST = 1


class Packet:
    """A message to send: a header, and arrays by name."""

    def __init__(self, header: Mapping[str, Any]) -> None:
        self.header = dict(header)
        self.blobs: list[dict[str, Any]] = []
        self._parts: list[bytes] = []
        self._offset = 0

    def add(self, name: str, values: NDArray[Any], *, deflate: bool = False) -> None:
        """Append an array.

        Args:
            name: name by which the browser finds the array.
            values: an array of one of the `TYPES`.
            deflate: compress the array. This is for class maps, which shrink to a tenth.
        """
        data = np.ascontiguousarray(values, dtype=TYPES[values.dtype.name]).tobytes()
        data = zlib.compress(data, _FAST) if deflate else data
        about = {"name": name, "type": values.dtype.name, "shape": list(values.shape), "deflated": deflate}
        self.blobs.append(about | {"offset": self._offset, "bytes": len(data)})
        padding = b"\0" * (-len(data) % 4)
        self._parts += [data, padding]
        self._offset += len(data) + len(padding)

    def encode(self) -> bytes:
        """The message as bytes."""
        header = json.dumps(self.header | {"blobs": self.blobs}, allow_nan=False).encode()
        header += b" " * (-(PREFIX + len(header)) % 4)
        return b"".join((len(header).to_bytes(PREFIX, "little"), header, *self._parts))


def decode_packet(data: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read header and arrays of a server's message, as the page does; for tests and other clients."""
    start = PREFIX + int.from_bytes(data[:PREFIX], "little")
    header = json.loads(data[PREFIX:start])
    arrays = {}
    for blob in header["blobs"]:
        part = data[start + blob["offset"] : start + blob["offset"] + blob["bytes"]]
        part = zlib.decompress(part) if blob["deflated"] else part
        arrays[blob["name"]] = np.frombuffer(part, TYPES[blob["type"]]).reshape(blob["shape"])
    return header, arrays

"""Read objects, in ranges or whole: from the local cache, otherwise from the store, after which they are cached."""

import struct
import zlib
from functools import lru_cache

from codistill.files.hashes import text_sha256
from codistill.files.places import cache_folder
from codistill.files.remote.ahead import Ahead
from codistill.files.remote.cache import RangeCache
from codistill.files.remote.config import RemoteConfig
from codistill.files.remote.store import ObjectState, object_state, read_range

_HEAD = struct.Struct("<QI")
"""Header of a whole object in the cache: its size and CRC-32, so that it can be checked without the store."""


class ObjectReader:
    """Reads objects with the options of a `RemoteConfig`, within one process. It pickles to few bytes."""

    def __init__(self, config: RemoteConfig) -> None:
        self.config = config
        limit = int(config.cache_gb * 1e9)
        self.cache = RangeCache(cache_folder() / "objects", limit) if limit else None
        self.ahead: Ahead[bytes] = Ahead(config.requests)

    def range(self, url: str, offset: int, size: int, crc32: int, name: str) -> bytes:
        """Read a range of an object whose checksum is known.

        Args:
            url: of the object.
            offset, size: in bytes.
            crc32: of the wanted bytes.
            name: a hash that identifies the object's content, e.g. of its address and size.

        Raises:
            StoreError, DataError: see `read_range`.
        """
        if self.cache is not None and (kept := self.cache.read(name, offset, size, crc32)) is not None:
            return kept
        data = read_range(
            url, offset, offset + size, self.config.patience, lambda found: zlib.crc32(found) == crc32
        )
        if self.cache is not None:
            self.cache.write(name, offset, data)
        return data

    def whole(self, url: str, state: ObjectState | None = None) -> bytes:
        """Read a whole object, from the cache if it is stored there in its current state.

        The state is first taken from the caller. If that is not cached, the store is asked for it.

        Raises:
            StoreError: see `patiently`.
        """
        patience = self.config.patience
        if state is not None and (kept := self._kept(url, state)) is not None:
            return kept
        state = object_state(url, patience)  # it may have changed since the caller asked for its state
        if (kept := self._kept(url, state)) is not None:
            return kept
        data = read_range(url, 0, state.size, patience)
        if self.cache is not None and state.tag:
            self.cache.write(_name(url, state), 0, _HEAD.pack(len(data), zlib.crc32(data)) + data)
        return data

    def _kept(self, url: str, state: ObjectState) -> bytes | None:
        if self.cache is None or not state.tag:  # without a tag, a change of the object could not be noticed
            return None
        data = self.cache.bytes_at(_name(url, state), 0, _HEAD.size + state.size)
        if len(data) != _HEAD.size + state.size:
            return None
        stated, crc32 = _HEAD.unpack_from(data)
        body = data[_HEAD.size :]
        return body if stated == state.size and zlib.crc32(body) == crc32 else None


def _name(url: str, state: ObjectState) -> str:
    return identity(url, state.size, state.tag)


@lru_cache(maxsize=1 << 16)
def identity(*parts: object) -> str:
    """Hash of the parts that identify an object's content."""
    return text_sha256(repr(parts))

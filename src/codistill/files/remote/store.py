"""Objects in a store, through fsspec: addresses in; states, bytes and listings out, or errors that name the address."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from codistill.errors import ConfigError, DataError, MissingExtraError, StoreError
from codistill.files.hashes import text_sha256
from codistill.files.remote.retrying import LONGEST_ATTEMPT, CutBodyError, MissingObjectError, patiently
from codistill.files.stamps import Stamp

PATIENCE = 600.0
_PACKAGES = {
    "s3": ("s3fs", "remote"),
    "http": ("aiohttp", "remote"),
    "https": ("aiohttp", "remote"),
    "hf": ("huggingface_hub", "hf"),
    "gs": ("gcsfs", "gcs"),
    "gcs": ("gcsfs", "gcs"),
}
_TAGS = ("ETag", "etag", "md5Hash", "blob_id", "generation", "sha256", "Content-MD5")
_TIMES = ("LastModified", "Last-Modified", "mtime", "updated", "last_modified", "modified", "created")
_PART = 32 << 20
"""Number of bytes of one request of a download."""


class NothingThereError(StoreError):
    """There are no objects below an address."""


@dataclass(frozen=True)
class ObjectState:
    """An object's size in bytes, and a tag: a text that changes with its content ("" if the store gives none)."""

    size: int
    tag: str

    def stamp(self) -> Stamp:
        """The state as a file's stamp, with a hash of the tag in place of the time."""
        return Stamp(self.size, int(text_sha256(self.tag)[:15], 16))


def filesystem(url: str) -> Any:
    """Return the fsspec file system of an address, for this process; it does not cache listings.

    Raises:
        MissingExtraError: if the package for it is not installed.
        ConfigError: for an unknown kind of address.
    """
    protocol = url.partition("://")[0]
    package, extra = _PACKAGES.get(protocol, ("fsspec", "remote"))
    try:
        import fsspec
    except ImportError:
        raise MissingExtraError("fsspec", "remote", f"reading {url}") from None
    try:
        return fsspec.filesystem(protocol, use_listings_cache=False)
    except ImportError:
        raise MissingExtraError(package, extra, f"reading {url}") from None
    except ValueError as error:
        if "rotocol" not in str(error):
            raise StoreError(f"{url}: cannot be used ({error})") from None
        raise ConfigError(
            f"{url}: unknown kind of address {protocol!r}; known: {', '.join(f'{name}://' for name in _PACKAGES)}, and "
            "those of other fsspec packages that are installed"
        ) from None


def _patiently(
    url: str, patience: float, call: Callable[[Any], Any], longest: float = LONGEST_ATTEMPT
) -> Any:
    return patiently(lambda: call(filesystem(url)), url, patience, longest)


def object_state(url: str, patience: float = PATIENCE) -> ObjectState:
    """Ask for the state of an object; MissingObjectError if there is none."""

    def call(store: Any) -> ObjectState:
        info = store.info(url)
        if info.get("type") == "directory":
            raise FileNotFoundError(url)
        if info.get("size") is None:
            raise StoreError(
                f"{url}: the server does not say how large it is. Use a server that gives the Content-Length of "
                "files, uncompressed, or a local copy."
            )
        return _state(info)

    return _patiently(url, patience, call)


def find_object(url: str, patience: float = PATIENCE) -> ObjectState | None:
    """Ask for the state of an object; None if there is none."""
    try:
        return object_state(url, patience)
    except MissingObjectError:
        return None


def _state(info: dict[str, Any]) -> ObjectState:
    tag = next((str(info[name]) for name in (*_TAGS, *_TIMES) if info.get(name)), "")
    return ObjectState(int(info.get("size") or 0), tag)


def read_range(
    url: str,
    start: int,
    stop: int,
    patience: float = PATIENCE,
    check: Callable[[bytes], bool] = lambda _: True,
) -> bytes:
    """Read the bytes `start` to `stop` (exclusive) of an object.

    Args:
        url: of the object.
        start, stop: offsets in bytes.
        patience: seconds for which failures are retried.
        check: whether the bytes are as expected; if not, they are read again, up to three times in all.

    Raises:
        StoreError: see `patiently`; also if the server sends whole objects.
        DataError: if `check` fails each time, so that the stored bytes are damaged.
    """
    if start == stop:
        return b""
    wrong = 0

    def call(store: Any) -> bytes:
        nonlocal wrong
        options = {} if getattr(store, "async_impl", False) else {"cache_type": "none"}
        data = store.cat_file(url, start=start, end=stop, **options)
        if len(data) > stop - start:
            raise StoreError(
                f"{url}: the server sends whole objects, where bytes {start} to {stop} were asked for. Use a server "
                "that answers range requests, or a local copy."
            )
        if len(data) < stop - start:
            raise CutBodyError(f"{len(data)} of {stop - start} bytes came")
        if not check(data):
            wrong += 1
            if wrong == 3:
                raise DataError(f"{url}: damaged: bytes {start} to {stop} have another checksum")
            raise CutBodyError("the bytes have another checksum")
        return data

    return _patiently(url, patience, call)


def read_object(url: str, patience: float = PATIENCE) -> bytes:
    """Read a whole object."""
    return read_range(url, 0, object_state(url, patience).size, patience)


def download(url: str, path: Path, patience: float = PATIENCE) -> ObjectState:
    """Write an object to a local file, in parts; return its state.

    Raises:
        StoreError: see `patiently`; also if the object changes in the meantime.
    """
    state = object_state(url, patience)
    with path.open("wb") as file:
        for start in range(0, state.size, _PART):
            file.write(read_range(url, start, min(start + _PART, state.size), patience))
    if object_state(url, patience) != state:
        raise StoreError(f"{url}: was changed while it was read; start again")
    return state


def upload(path: Path, url: str, patience: float = PATIENCE) -> ObjectState:
    """Write a local file as an object, which appears only when complete; return its state.

    Raises:
        ConfigError: if addresses of this kind cannot be written.
        StoreError: see `patiently`; also if the object has another size afterwards.
    """
    check_writable(url)
    size = path.stat().st_size
    seconds = LONGEST_ATTEMPT * (size // _PART)  # as slow as a part of a download may be
    longest = max(LONGEST_ATTEMPT, seconds)
    _patiently(url, patience + seconds, lambda store: store.put_file(str(path), url), longest)
    state = object_state(url, patience)
    if state.size != size:
        raise StoreError(f"{url}: {state.size} bytes are stored where {size} were written. Write it again.")
    return state


def check_writable(url: str) -> None:
    """Raise ConfigError for addresses of web servers, which can only be read."""
    if url.startswith(("http://", "https://")):
        raise ConfigError(f"{url}: a web server cannot be written to. Give a folder, s3:// or gs://.")


def list_objects(url: str, patience: float = PATIENCE) -> dict[str, ObjectState]:
    """List all objects below an address: relative names with `/`, and their states, in the order of `walk_files`.

    Raises:
        NothingThereError: if there are none.
        StoreError: see `patiently`.
    """

    def call(store: Any) -> dict[str, dict[str, Any]]:
        root = store._strip_protocol(url).rstrip("/") + "/"
        web = url.startswith(("http://", "https://"))
        found = _web_files(store, url.rstrip("/")) if web else store.find(url, detail=True)
        if not found:
            raise FileNotFoundError(url)
        names = unquote if web else str
        return {names(name.removeprefix(root)): info for name, info in found.items() if name.startswith(root)}

    try:
        found = _patiently(url, patience, call, patience / 2)  # a long listing is many requests
    except MissingObjectError:
        raise NothingThereError(f"{url}: nothing lies there (0 objects). Check the address.") from None
    return {name: _state(found[name]) for name in sorted(found, key=_walking_order)}


def _web_files(store: Any, url: str) -> dict[str, dict[str, Any]]:
    """The files that the pages of a web server list, by address. (fsspec's `find` leaves out folders that fail.)"""
    found: dict[str, dict[str, Any]] = {}
    folders, known = [url], {url}
    for folder in folders:
        try:
            listing = store.ls(folder, detail=True)
        except FileNotFoundError:  # a dead link
            continue
        for info in listing:
            name = info["name"].rstrip("/")
            if info["type"] != "directory":
                found[name] = info
            elif name.startswith(f"{url}/") and name not in known:
                folders.append(name)
                known.add(name)
    return found


def _walking_order(name: str) -> tuple[tuple[bool, str], ...]:
    """Sort key: a folder's own files by name, then those in its folders, by name."""
    *folders, file = name.split("/")
    return (*((True, folder) for folder in folders), (False, file))

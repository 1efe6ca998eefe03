"""Parse and check a tab's messages: text is JSON; binary is a JSON header (`packets.py`), then the pictures it lists.

{"type": "see", "id": 7, "images": [{"bytes": 48213, "name": "a.jpg"}, {"sample": "kitchen-1"}],
 "want": ["segmentation", "depth"], "points": 20000, "map_edge": 320}
{"type": "similar", "id": 8, "image": 0, "row": 3, "column": 5}       similarity to this patch in the last scene
{"type": "describe", "id": 9}                                         the last scene as JSON
{"type": "ping"}
"""

import json
from dataclasses import dataclass
from typing import Any

from codistill.errors import DataError, unknown_name
from codistill.serve.packets import PREFIX

MAX_HEADER = 1 << 16
MAX_ID = 1 << 53
MAX_NAME = 200
MAP_EDGES = (64, 1024)


class MessageError(DataError):
    """A message that violates the protocol. The tab receives the reason, and its connection stays open."""


@dataclass(frozen=True)
class Picture:
    """A picture to process: an encoded image, or the name of a shipped sample."""

    name: str
    data: bytes = b""
    sample: str | None = None


@dataclass(frozen=True)
class See:
    """Request to process pictures.

    Attributes:
        want: names of the answers to compute; features are always computed.
        points: largest number of points of each cloud; 0: no cloud.
        map_edge: longer side of class, depth and normal maps, in pixels.
        steady: keep the PCA colours of the features as in the last scene (frames of a stream).
    """

    id: int
    pictures: tuple[Picture, ...]
    want: tuple[str, ...]
    points: int
    map_edge: int
    steady: bool = False


@dataclass(frozen=True)
class Similar:
    """Request to compare one patch (row, column of the token grid) of the last scene with all its patches."""

    id: int
    image: int
    row: int
    column: int


@dataclass(frozen=True)
class Describe:
    """Request for the last scene as JSON."""

    id: int


@dataclass(frozen=True)
class Ping:
    """Message that keeps the connection alive."""

    id: int = 0


Message = See | Similar | Describe | Ping


def parse_message(data: str | bytes, max_images: int) -> Message:
    """Parse and check a message.

    Raises:
        MessageError: if the message is wrong; the text is meant for the author of the client.
    """
    header, rest = _split(data)
    kind = header.get("type")
    if kind not in _PARSERS:
        raise MessageError(unknown_name("type of message", str(kind), _PARSERS))
    if rest and kind != "see":
        raise MessageError(f"a message of type {kind!r} has no pictures; {len(rest)} bytes follow its header")
    if kind == "see":
        return _see(header, rest, max_images)
    return _PARSERS[kind](header)


def _split(data: str | bytes) -> tuple[dict[str, Any], bytes]:
    rest = b""
    if isinstance(data, bytes):
        if len(data) < PREFIX:
            raise MessageError(f"a binary message of {len(data)} bytes: four are its header's length")
        length = int.from_bytes(data[:PREFIX], "little")
        if length > MAX_HEADER or PREFIX + length > len(data):
            raise MessageError(
                f"a header of {length} bytes in a message of {len(data)}; at most {MAX_HEADER} are allowed"
            )
        data, rest = data[PREFIX : PREFIX + length], data[PREFIX + length :]
    if len(data) > MAX_HEADER:
        raise MessageError(f"a text message of {len(data)} characters; at most {MAX_HEADER} are allowed")
    try:
        header = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise MessageError(f"the message is not JSON: {str(error)[:100]}") from None
    if not isinstance(header, dict):
        raise MessageError(f"the message must be a JSON object; got {type(header).__name__}")
    return header, rest


def _whole(header: dict[str, Any], name: str, low: int, high: int, default: int | None = None) -> int:
    value = header.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise MessageError(f"{name} must be a whole number from {low} to {high}; got {_short(value)}")
    return value


def _id(header: dict[str, Any]) -> int:
    return _whole(header, "id", 0, MAX_ID)


def _see(header: dict[str, Any], rest: bytes, max_images: int) -> See:
    images, want = header.get("images"), header.get("want", [])
    if not isinstance(images, list) or not 1 <= len(images) <= max_images:
        raise MessageError(f"images must be a list of 1 to {max_images} pictures; got {_short(images)}")
    if not isinstance(want, list) or len(want) > 64 or not all(isinstance(name, str) for name in want):
        raise MessageError(f"want must be a list of names of answers; got {_short(want)}")
    pictures, offset = [], 0
    for image in images:
        picture, size = _picture(image, rest[offset:])
        pictures.append(picture)
        offset += size
    if offset != len(rest):
        raise MessageError(f"the header names {offset} bytes of pictures, {len(rest)} came")
    return See(
        id=_id(header),
        pictures=tuple(pictures),
        want=tuple(dict.fromkeys(want)),
        points=_whole(header, "points", 0, 1 << 20, 0),
        map_edge=_whole(header, "map_edge", *MAP_EDGES, MAP_EDGES[1]),
        steady=header.get("steady") is True,
    )


def _picture(image: object, rest: bytes) -> tuple[Picture, int]:
    if not isinstance(image, dict):
        raise MessageError(f"a picture must be a JSON object; got {_short(image)}")
    if "sample" in image:
        if not isinstance(image["sample"], str):
            raise MessageError(f"sample must be a name; got {_short(image['sample'])}")
        return Picture(image["sample"][:MAX_NAME], sample=image["sample"]), 0
    size = _whole(image, "bytes", 1, MAX_ID)
    name = image.get("name", "picture")
    if not isinstance(name, str):
        raise MessageError(f"name must be text; got {_short(name)}")
    if size > len(rest):
        raise MessageError(
            f"a picture of {size} bytes is announced, {len(rest)} came: the message is cut off"
        )
    return Picture(name[:MAX_NAME], rest[:size]), size


def _similar(header: dict[str, Any]) -> Similar:
    row, column = (_whole(header, name, 0, 1 << 16) for name in ("row", "column"))
    return Similar(_id(header), _whole(header, "image", 0, 64), row, column)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


_PARSERS = {
    "see": _see,
    "similar": _similar,
    "describe": lambda header: Describe(_id(header)),
    "ping": lambda header: Ping(),
}

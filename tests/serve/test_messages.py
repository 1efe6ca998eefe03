"""A tab's messages: right ones are understood, wrong ones say why."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codistill.serve.messages import Describe, MessageError, Ping, See, Similar, parse_message


def binary(header: dict, rest: bytes = b"") -> bytes:
    data = json.dumps(header).encode()
    return len(data).to_bytes(4, "little") + data + rest


def test_pictures_follow_the_header() -> None:
    header = {"type": "see", "id": 7, "want": ["depth", "depth"], "points": 10, "map_edge": 256}
    images = [{"bytes": 3, "name": "a.jpg"}, {"sample": "room-1"}, {"bytes": 2}]
    message = parse_message(binary(header | {"images": images}, b"abcde"), 8)
    assert isinstance(message, See)
    assert [(p.data, p.sample) for p in message.pictures] == [(b"abc", None), (b"", "room-1"), (b"de", None)]
    assert message.want == ("depth",)
    assert (message.points, message.map_edge) == (10, 256)


def test_the_other_types() -> None:
    assert parse_message('{"type": "ping"}', 8) == Ping()
    assert parse_message('{"type": "describe", "id": 2}', 8) == Describe(2)
    text = '{"type": "similar", "id": 1, "image": 0, "row": 3, "column": 4}'
    assert parse_message(text, 8) == Similar(1, 0, 3, 4)


ONE = {"type": "see", "id": 1, "images": [{"bytes": 3}]}
WRONG = {
    "not JSON": "{",
    "JSON object": "[]",
    "Did you mean 'see'": '{"type": "seee", "id": 1}',
    "four are its header's length": b"abc",
    "at most 65536": b"\xff\xff\xff\x7f{}",
    "at most 65536 are": "x" * 70000,
    "list of 1 to 8": json.dumps({"type": "see", "id": 1, "images": [{}] * 9}),
    "a picture must be a JSON object": json.dumps({"type": "see", "id": 1, "images": [3]}),
    "cut off": binary(ONE, b"ab"),
    "3 bytes of pictures, 4 came": binary(ONE, b"abcd"),
    "id must be a whole number": binary(ONE | {"id": True}, b"abc"),
    "map_edge must be a whole number from 64": binary(ONE | {"map_edge": 1}, b"abc"),
    "points must be": binary(ONE | {"points": -1}, b"abc"),
    "want must be a list": binary(ONE | {"want": "depth"}, b"abc"),
    "sample must be a name": json.dumps(ONE | {"images": [{"sample": 3}]}),
    "row must be": '{"type": "similar", "id": 1, "image": 0, "row": 1.5, "column": 4}',
    "has no pictures": binary({"type": "ping"}, b"abc"),
}


@pytest.mark.parametrize(("text", "data"), WRONG.items())
def test_wrong_messages_say_why(text: str, data: str | bytes) -> None:
    with pytest.raises(MessageError, match=text):
        parse_message(data, 8)


@given(st.one_of(st.text(max_size=200), st.binary(max_size=200)))
def test_nothing_but_message_errors(data: str | bytes) -> None:
    with pytest.raises(MessageError):
        parse_message(data, 8)


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(st.sampled_from(["id", "images", "want", "points", "row", "column", "image"]), VALUES),
    st.sampled_from(["see", "similar", "describe"]),
)
def test_wrong_fields_are_message_errors_too(fields: dict, kind: str) -> None:
    with suppress(MessageError):
        parse_message(binary(fields | {"type": kind}, b"abc" if kind == "see" else b""), 8)

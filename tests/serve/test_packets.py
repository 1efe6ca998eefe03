"""Packets: read as the browser reads them, byte by byte."""

import json

import numpy as np
import pytest

from codistill.serve.packets import Packet, decode_packet


def test_a_packet_is_read_back() -> None:
    packet = Packet({"type": "scene", "id": 3})
    arrays = {
        "a/0": np.arange(7, dtype=np.uint8),
        "b/0": np.array([[1, -128]], dtype=np.int8),
        "c": np.array([[1.5, -2.25]], dtype=np.float32),
        "d": np.array([70000], dtype=np.uint32),
        "e": np.zeros((40, 50), dtype=np.uint8),
    }
    for name, values in arrays.items():
        packet.add(name, values, deflate=name == "e")
    data = packet.encode()
    header, read = decode_packet(data)
    assert header["id"] == 3
    for name, values in arrays.items():
        np.testing.assert_array_equal(read[name], values)
        assert read[name].dtype == values.dtype
    assert len(data) < 1000  # 2000 zeros are deflated


def test_every_array_starts_where_a_typed_array_may() -> None:
    packet = Packet({"type": "scene", "text": "ü"})
    for count in (1, 2, 3, 5):
        packet.add(str(count), np.ones(count, dtype=np.uint8))
    data = packet.encode()
    length = int.from_bytes(data[:4], "little")
    header = json.loads(data[4 : 4 + length])
    assert (4 + length) % 4 == 0
    assert all(blob["offset"] % 4 == 0 for blob in header["blobs"])


def test_nan_is_refused_in_a_header() -> None:
    with pytest.raises(ValueError, match="JSON"):
        Packet({"value": float("nan")}).encode()

"""Maps: every value as it was stored, whatever its width; formats that change values are refused."""

import io

import cv2
import numpy as np
import pytest
from image_files import chunk, encode, exif, field, insert_chunks, png
from PIL import Image

from codistill.errors import DataError
from codistill.imaging import decode_map, decode_vectors


def test_maps_keep_their_values() -> None:
    depth = np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000
    for kind in ("PNG", "TIFF"):
        np.testing.assert_array_equal(decode_map(encode(depth, kind)), depth)
    labels = Image.fromarray(np.array([[0, 3], [255, 7]], np.uint8)).convert("P")
    assert decode_map(encode(labels)).dtype == np.uint8
    with pytest.raises(DataError, match="wanted one channel"):
        decode_map(encode(np.zeros((4, 4, 3), np.uint8)), name="rgb.png")


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "PPM", "GIF"])
def test_one_bit_is_zero_and_one(kind: str) -> None:
    mask = np.random.default_rng(0).random((5, 13)) > 0.5
    found = decode_map(encode(Image.fromarray(mask), kind))
    assert found.dtype == np.uint8
    if kind in ("BMP", "GIF", "PPM"):  # these store brightnesses or a palette
        np.testing.assert_array_equal(found > 0, mask)
    else:
        np.testing.assert_array_equal(found, mask)


def test_sixteen_bits_of_either_byte_order() -> None:
    depth = np.arange(6, dtype=np.uint16).reshape(2, 3) * 9000
    for order in "<>":
        values = {256: 3, 257: 2, 258: 16, 259: 1, 262: 1, 273: 200, 277: 1, 278: 2, 279: 12}
        entries = [(tag, 4, 1, field(order, 4, value)) for tag, value in values.items()]
        data = exif(order, entries).ljust(200, b"\0") + depth.astype(f"{order}u2").tobytes()
        found = decode_map(data)
        assert found.dtype == np.uint16
        np.testing.assert_array_equal(found, depth)


def test_sbit_and_darkness_do_not_matter_to_maps() -> None:
    depth = np.arange(12, dtype=np.uint16).reshape(3, 4) * 300
    np.testing.assert_array_equal(decode_map(insert_chunks(png(depth), chunk(b"sBIT", b"\x0c"))), depth)


@pytest.mark.parametrize("most", [7, 255, 1000, 40_000, 65_535])
def test_pgm_of_any_maximum(most: int) -> None:
    values = np.linspace(0, most, 30).round().reshape(5, 6).astype(np.uint16)
    body = values.astype(">u2" if most > 255 else np.uint8).tobytes()
    np.testing.assert_array_equal(decode_map(f"P5 6 5 {most}\n".encode() + body), values)
    plain = f"P2\n# {most}\n6 5\n{most}\n" + " ".join(map(str, values.ravel()))
    np.testing.assert_array_equal(decode_map(plain.encode()), values)


def test_a_map_is_turned_as_its_own_exif_says() -> None:
    labels = np.arange(6, dtype=np.uint8).reshape(2, 3)
    turned = insert_chunks(png(labels, 8), chunk(b"eXIf", exif("<", [(0x0112, 3, 1, field("<", 3, 6))])))
    np.testing.assert_array_equal(decode_map(turned), np.rot90(labels, -1))


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "JPEG2000"])
def test_formats_that_change_values_are_refused(kind: str) -> None:
    labels = Image.fromarray(np.zeros((8, 8), np.uint8))
    with pytest.raises(DataError, match=rf"a\.png: {kind} does not keep the values"):
        decode_map(encode(labels, kind), name="a.png")
    buffer = io.BytesIO()
    labels.save(buffer, "TIFF", compression="jpeg")
    with pytest.raises(DataError, match="does not keep the values"):
        decode_map(buffer.getvalue())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_vectors_keep_three_channels_of_8_or_16_bits(dtype: type) -> None:
    values = np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, (4, 5, 3)).astype(dtype)
    data = cv2.imencode(".png", values[..., ::-1])[1].tobytes()
    found = decode_vectors(data)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, values)
    turned = insert_chunks(data, chunk(b"eXIf", exif("<", [(0x0112, 3, 1, field("<", 3, 6))])))
    np.testing.assert_array_equal(decode_vectors(turned), np.rot90(values, -1))


def test_vectors_of_other_channels_or_formats_are_refused() -> None:
    with pytest.raises(DataError, match=r"grey\.png: wanted three channels"):
        decode_vectors(encode(np.zeros((4, 4), np.uint8)), name="grey.png")
    with pytest.raises(DataError, match="wanted three channels"):
        decode_vectors(encode(np.zeros((4, 4, 4), np.uint8)))
    deep = cv2.imencode(".tiff", np.zeros((4, 4, 3), np.uint16))[1].tobytes()
    with pytest.raises(DataError, match="of 16 in a PNG; got TIFF"):
        decode_vectors(deep)
    with pytest.raises(DataError, match="does not keep the values"):
        decode_vectors(encode(np.zeros((8, 8, 3), np.uint8), "JPEG"))
    good = cv2.imencode(".png", np.ones((40, 50, 3), np.uint16))[1].tobytes()
    with pytest.raises(DataError):
        decode_vectors(good[:-40])

"""PNG: what stands beside the pixels cannot make a file unusable, cost memory, or change them."""

import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
from image_files import PNG_START, chunk, encode, insert_chunks, png
from PIL import Image

from codistill.errors import DataError
from codistill.imaging import decode_map, decode_rgb, read_header

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 7, 3), dtype=np.uint8)
PLAIN = png(PIXELS, 8)


def text(kind: bytes, size: int) -> bytes:
    head = {b"zTXt": b"k\0\0", b"iTXt": b"XML:com.adobe.xmp\0\1\0\0\0", b"iCCP": b"icc\0\0", b"tEXt": b"k\0"}[
        kind
    ]
    return chunk(kind, head + (b"a" * size if kind == b"tEXt" else zlib.compress(b"a" * size)))


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP", b"tEXt"])
@pytest.mark.parametrize("place", ["before", "between", "after"])
def test_large_texts_and_profiles_do_not_matter(kind: bytes, place: str) -> None:
    extra = text(kind, 2_000_000)
    if place == "between":  # of two parts of the pixels
        body = PLAIN[41:-16]
        data = PLAIN[:33] + chunk(b"IDAT", body[:20]) + extra + chunk(b"IDAT", body[20:]) + PLAIN[-12:]
    else:
        data = png(PIXELS, 8, **{place: extra})
    np.testing.assert_array_equal(decode_rgb(data), PIXELS)
    assert read_header(data).width == 7


def test_texts_are_not_decompressed() -> None:
    """A bomb of 200 texts of 10 MB each."""
    data = insert_chunks(PLAIN, text(b"zTXt", 10_000_000) * 200)
    tracemalloc.start()
    np.testing.assert_array_equal(decode_rgb(data), PIXELS)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 5_000_000


@pytest.mark.parametrize("kind", [b"tEXt", b"iCCP", b"gAMA", b"tIME", b"pHYs", b"eXIf", b"sBIT", b"zzZz"])
@pytest.mark.parametrize("good", [True, False])
def test_damaged_and_unknown_chunks_that_may_be_left_out_are(kind: bytes, good: bool) -> None:
    for data in (
        insert_chunks(PLAIN, chunk(kind, b"garbage that is none of these", good=good)),
        png(PIXELS, 8, after=chunk(kind, b"\xff" * 9, good=good)),
    ):
        np.testing.assert_array_equal(decode_rgb(data), PIXELS)
        np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(data, np.uint8), 1)[..., ::-1], PIXELS)


def test_transparency_with_a_wrong_checksum_is_left_out_as_in_libpng() -> None:
    key = np.array(PIXELS[0, 0], ">u2").tobytes()
    wrong = insert_chunks(PLAIN, chunk(b"tRNS", key, good=False))
    np.testing.assert_array_equal(decode_rgb(wrong), PIXELS)
    assert decode_rgb(insert_chunks(PLAIN, chunk(b"tRNS", key)))[0, 0].tolist() == [255, 255, 255]


def test_chunks_that_must_not_be_left_out_are_compared() -> None:
    damaged = bytearray(PLAIN)
    damaged[30] ^= 1  # the header's checksum
    with pytest.raises(DataError, match=r"a\.png"):
        decode_rgb(bytes(damaged), name="a.png")
    palette = encode(Image.fromarray(PIXELS).quantize(8))
    place = palette.index(b"PLTE") + 4
    damaged = bytearray(palette)
    damaged[place] ^= 255
    with pytest.raises(DataError, match=r"a\.png"):
        decode_rgb(bytes(damaged), name="a.png")


def test_whatever_follows_the_pixels_may_be_cut_or_foreign() -> None:
    end = PLAIN.index(b"IEND") - 4
    for tail in (
        b"",
        b"\0\0",
        PLAIN[end:] + b"garbage" * 99,
        b"\0" * 50,
        b"\xff\xff\xff\xffIEND",
        b"PK\3\4zip",
    ):
        np.testing.assert_array_equal(decode_rgb(PLAIN[:end] + tail), PIXELS)


def test_pixels_that_are_cut_are_refused() -> None:
    for keep in (9, 20, 33, 40, 60, PLAIN.index(b"IEND") - 20):
        with pytest.raises(DataError, match=r"^a\.png"):
            decode_rgb(PLAIN[:keep], name="a.png")


def test_a_file_of_nothing_but_chunks_is_refused_soon() -> None:
    header = PLAIN[:33]
    with pytest.raises(DataError, match="chunks"):
        decode_rgb(header + b"\0\0\0\0abCd\0\0\0\0" * (1 << 18))
    with pytest.raises(DataError, match="does not start with its header"):
        decode_rgb(PNG_START + chunk(b"tEXt", b"x" * 20) + header[8:])


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_few_bits_are_brightnesses_in_pictures_and_numbers_in_maps(depth: int) -> None:
    most = (1 << depth) - 1
    numbers = np.random.default_rng(1).integers(0, most + 1, (5, 11), dtype=np.uint8)
    numbers[0, :2] = 0, most
    data = png(numbers, depth)
    np.testing.assert_array_equal(decode_rgb(data)[..., 0], numbers * (255 // most))
    np.testing.assert_array_equal(decode_map(data), numbers)
    key = insert_chunks(data, chunk(b"tRNS", b"\0\0"))  # black is transparent
    np.testing.assert_array_equal(
        decode_rgb(key)[..., 1], np.where(numbers == 0, 255, numbers.astype(int) * (255 // most))
    )
    palette = png(numbers, depth, before=chunk(b"PLTE", bytes(range(3 * (most + 1)))), colour=3)
    np.testing.assert_array_equal(decode_map(palette), numbers)
    np.testing.assert_array_equal(decode_rgb(palette)[..., 2], 3 * numbers + 2)


def test_palette_with_degrees_of_transparency() -> None:
    numbers = np.array([[0, 1, 2]], np.uint8)
    colours = chunk(b"PLTE", bytes([0, 0, 0, 100, 0, 0, 10, 20, 30])) + chunk(b"tRNS", bytes([0, 128]))
    found = decode_rgb(png(numbers, 8, before=colours, colour=3))
    assert found[0, 0].tolist() == [255] * 3 and found[0, 2].tolist() == [10, 20, 30]
    assert np.abs(found[0, 1].astype(int) - [177, 127, 127]).max() <= 1

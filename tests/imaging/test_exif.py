"""EXIF: any integer type, either byte order, any container; what makes no sense is not there, and nothing raises."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import app1, chunk, encode, exif, field, png, with_exif
from PIL import Image

from codistill.errors import DataError
from codistill.imaging import decode_rgb, equivalent_focal, pillow_to_rgb, read_header
from codistill.imaging.exif import exif_focal, exif_orientation

STORED = np.zeros((2, 3, 3), np.uint8)
STORED[0, 0], STORED[0, 2] = (255, 0, 0), (0, 255, 0)
UPRIGHT = {
    1: STORED,
    2: STORED[:, ::-1],
    3: STORED[::-1, ::-1],
    4: STORED[::-1],
    5: STORED.transpose(1, 0, 2),
    6: np.rot90(STORED, -1),
    7: np.rot90(STORED, 2).transpose(1, 0, 2),
    8: np.rot90(STORED, 1),
}
INTEGERS = (1, 3, 4, 6, 8, 9)
"""Byte, short, long and their signed kinds."""


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", INTEGERS)
@pytest.mark.parametrize("container", ["PNG", "WEBP", "JPEG"])
def test_orientation_of_any_integer_type_in_either_byte_order(container: str, kind: int, order: str) -> None:
    picture = np.repeat(np.repeat(STORED, 16, 0), 16, 1) if container == "JPEG" else STORED
    options = {"quality": 100, "subsampling": 0} if container == "JPEG" else {"lossless": True}
    plain = encode(picture, container, **(options if container != "PNG" else {}))
    for orientation, wanted in UPRIGHT.items():
        data = with_exif(plain, exif(order, [(0x0112, kind, 1, field(order, kind, orientation))]))
        found, header = decode_rgb(data), read_header(data)
        assert (header.height, header.width, header.orientation) == (*found.shape[:2], orientation)
        found = found[8::16, 8::16] if container == "JPEG" else found
        assert np.abs(found.astype(int) - wanted).max() <= 3


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", INTEGERS)
def test_orientation_of_a_tiff_is_applied_once(kind: int, order: str) -> None:
    """The file itself is the structure: its first directory holds the picture's tags."""
    values = {256: 3, 257: 2, 258: 8, 259: 1, 262: 1, 273: 200, 277: 1, 278: 2, 279: 6}
    entries = [(tag, 4, 1, field(order, 4, value)) for tag, value in values.items()]
    grey = np.arange(6, dtype=np.uint8).reshape(2, 3)
    for orientation in range(1, 9):
        turned = sorted([*entries, (0x0112, kind, 1, field(order, kind, orientation))])
        data = exif(order, turned).ljust(200, b"\0") + grey.tobytes()
        wanted = UPRIGHT[orientation].shape[:2]
        found = decode_rgb(data)[..., 0]
        header = read_header(data)
        assert (header.height, header.width) == found.shape == wanted
        corner = {1: 0, 2: 2, 3: 5, 4: 3, 5: 0, 6: 3, 7: 5, 8: 2}[orientation]
        assert found[0, 0] == corner


def test_orientation_stands_behind_the_pixels_of_a_png() -> None:
    turned = exif(">", [(0x0112, 3, 1, field(">", 3, 6))])
    data = png(STORED, 8, after=chunk(b"eXIf", turned))
    np.testing.assert_array_equal(decode_rgb(data), UPRIGHT[6])
    assert read_header(data).height == 3


def test_the_first_exif_segment_counts_and_xmp_is_none() -> None:
    plain = encode(STORED, "JPEG")
    six, one = (exif(">", [(0x0112, 3, 1, field(">", 3, value))]) for value in (6, 1))
    xmp = app1(b"http://ns.adobe.com/xap/1.0/\0<x/>")
    assert read_header(plain[:2] + xmp + app1(b"Exif\0\0" + six) + plain[2:]).orientation == 6
    both = app1(b"Exif\0\0" + one) + app1(b"Exif\0\0" + six)
    assert read_header(plain[:2] + both + plain[2:]).orientation == 1
    late = plain[:20] + b"\xff\xff" + app1(b"Exif\0\0" + six)[1:] + plain[20:]  # a fill byte
    assert read_header(late).orientation == 6


@pytest.mark.parametrize(
    "tiff",
    [
        b"",
        b"MM\0*",
        b"MM\0*\0\0\0\x08\0\x05\x01\x12",
        b"II+\0\x08\0\0\0" + exif("<", [(0x0112, 3, 1, field("<", 3, 6))])[8:],  # another magic number
        exif(">", [(0x0112, 3, 1, field(">", 3, 0))]),
        exif(">", [(0x0112, 3, 1, field(">", 3, 9))]),
        exif(">", [(0x0112, 3, 0, field(">", 3, 6))]),
        exif(">", [(0x0112, 3, 4294967295, field(">", 3, 6))]),
        exif(">", [(0x0112, 2, 1, b"6\0\0\0")]),
        exif(">", [(0x0112, 99, 1, b"\0\6\0\0")]),
        exif("<", [(0x0112, 4, 1, field("<", 4, 6 << 16))]),
    ],
)
def test_senseless_orientations_leave_the_picture_as_it_is(tiff: bytes) -> None:
    assert exif_orientation(tiff) == 1
    np.testing.assert_array_equal(decode_rgb(png(STORED, 8, before=chunk(b"eXIf", tiff))), STORED)


@pytest.mark.parametrize("order", "<>")
def test_focal_length_is_found_through_its_directory_whatever_its_type(order: str, tmp_path) -> None:
    for kind, value in ((3, 50), (4, 50), (5, None)):
        inner_at = 8 + 2 + 12 + 4
        place = inner_at + 2 + 12 + 4
        content = struct.pack(order + "I", place) if value is None else field(order, kind, value)
        inner = exif(order, [(0xA405, kind, 1, content)])[8:] + struct.pack(order + "II", 101, 2)
        tiff = exif(order, [(0x8769, 4, 1, field(order, 4, inner_at))]) + inner
        assert exif_focal(tiff) == (50 if value else 50.5)
        for container in ("JPEG", "PNG", "WEBP"):
            path = tmp_path / f"{kind}.{container}"
            path.write_bytes(with_exif(encode(STORED, container), tiff))
            assert equivalent_focal(path) == (50 if value else 50.5)


@pytest.mark.parametrize(
    ("millimetres", "believed"), [(0, False), (1, False), (5, True), (2000, True), (65535, False)]
)
def test_a_focal_length_that_no_lens_has_is_not_believed(millimetres: int, believed: bool) -> None:
    inner = exif(">", [(0xA405, 3, 1, field(">", 3, millimetres))])[8:]
    tiff = exif(">", [(0x8769, 4, 1, field(">", 4, 26))]) + inner
    assert exif_focal(tiff) == (millimetres if believed else None)


@pytest.mark.parametrize("pointer", [0, 4, 8, 38, 0xFFFFFFF0])
def test_senseless_directories_tell_no_focal_length(pointer: int) -> None:
    assert exif_focal(exif(">", [(0x8769, 4, 1, field(">", 4, pointer))])) is None


def test_an_image_in_memory_with_odd_exif_is_taken() -> None:
    image = Image.fromarray(STORED)
    for tiff, wanted in (
        (exif(">", [(0x0112, 4, 1, field(">", 4, 6))]), UPRIGHT[6]),
        (exif(">", [(0x0112, 1, 1, field(">", 1, 6))]), UPRIGHT[6]),
        (b"MM\0*\xff\xff", STORED),
    ):
        image = Image.fromarray(STORED)
        image.info["exif"] = b"Exif\0\0" + tiff
        np.testing.assert_array_equal(pillow_to_rgb(image), wanted)


PLAIN = {kind: encode(STORED, kind) for kind in ("JPEG", "PNG", "WEBP")}
ENTRIES = st.tuples(
    st.sampled_from([0x0112, 0x8769, 0xA405, 0x0100, 0x9999]),
    st.integers(0, 14),
    st.one_of(st.integers(0, 3), st.integers(0, 2**32 - 1)),
    st.binary(min_size=4, max_size=4),
)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    st.sampled_from("<>"),
    st.lists(ENTRIES, max_size=6),
    st.integers(8, 40),
    st.binary(max_size=40),
    st.integers(0, 60),
    st.sampled_from(sorted(PLAIN)),
)
def test_random_exif_never_fails_and_never_changes_the_pixels(
    order: str, entries: list, start: int, tail: bytes, cut: int, container: str
) -> None:
    tiff = exif(order, entries, start) + tail
    tiff = tiff[: len(tiff) - cut] if cut % 3 == 0 else tiff
    assert exif_orientation(tiff) in range(1, 9)
    focal = exif_focal(tiff)
    assert focal is None or 0 < focal < float("inf")
    if container == "WEBP":
        return
    data = with_exif(PLAIN[container], tiff)
    header = read_header(data)
    found, stored = decode_rgb(data), decode_rgb(PLAIN[container])
    assert found.shape[:2] == (header.height, header.width)
    assert sorted(found.reshape(-1, 3).tolist()) == sorted(stored.reshape(-1, 3).tolist())


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.binary(max_size=120))
def test_random_bytes_as_exif_never_fail(noise: bytes) -> None:
    assert exif_orientation(noise) in range(1, 9)
    assert exif_orientation(b"Exif\0\0MM\0*" + noise) in range(1, 9)
    exif_focal(b"II*\0" + noise)
    message = "x"
    try:
        decode_rgb(b"II*\0" + noise, name="x")
    except DataError as error:
        message = str(error)
    assert message.startswith("x")

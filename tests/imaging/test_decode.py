"""Decoding: every odd image comes out upright in RGB, or is refused with a reason."""

import io
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from image_files import chunk, encode
from PIL import Image, ImageOps

from codistill.errors import DataError
from codistill.imaging import FORMATS, decode_rgb, read_header, read_rgb


def smooth(rows: int = 48, columns: int = 64, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    return np.asarray(coarse.resize((columns, rows), Image.Resampling.BICUBIC))


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_orientation_is_applied_as_pillow_does(kind: str, orientation: int) -> None:
    data = encode(smooth(), kind, exif=exif(orientation))
    wanted = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    found = decode_rgb(data)
    header = read_header(data)
    assert found.shape == wanted.shape == (header.height, header.width, 3)
    assert np.abs(found.astype(int) - wanted).max() <= 2


def test_big_endian_exif_after_other_segments() -> None:
    tiff = b"MM\0*\0\0\0\x08" + b"\0\x01" + struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0) + b"\0\0\0\0"
    segment = b"Exif\0\0" + tiff
    plain = encode(smooth(), "JPEG")
    comment = b"\xff\xfe" + struct.pack(">H", 7) + b"hello"
    data = plain[:2] + comment + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + plain[2:]
    assert decode_rgb(data).shape == (64, 48, 3)


def test_cmyk_jpeg_follows_pillow() -> None:
    data = encode(Image.fromarray(smooth()).convert("CMYK"), "JPEG")
    wanted = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    np.testing.assert_array_equal(decode_rgb(data), wanted)
    assert not read_header(data).reducible


def test_sixteen_bit_grey_is_scaled_and_not_clipped() -> None:
    ramp = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)
    for kind in ("PNG", "TIFF"):
        found = decode_rgb(encode(ramp, kind))
        np.testing.assert_array_equal(found[..., 0].ravel(), np.arange(256))
        np.testing.assert_array_equal(found[..., 0], found[..., 2])


def test_grey_jpeg_and_bilevel() -> None:
    grey = decode_rgb(encode(Image.fromarray(smooth()).convert("L"), "JPEG"))
    assert (grey[..., 0] == grey[..., 1]).all()
    bilevel = decode_rgb(encode(Image.fromarray(smooth()).convert("1")))
    assert set(np.unique(bilevel)) == {0, 255}


def test_transparency_is_laid_over_white() -> None:
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[0, 0] = (200, 100, 0, 255)
    pixels[0, 1] = (200, 100, 0, 0)
    pixels[1, 0] = (100, 0, 0, 128)
    found = decode_rgb(encode(pixels))
    assert found[0, 0].tolist() == [200, 100, 0]
    assert found[0, 1].tolist() == [255, 255, 255]
    assert np.abs(found[1, 0].astype(int) - [177, 127, 127]).max() <= 1


def test_palette_with_a_transparent_entry() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 0, 0])
    image.putpixel((1, 0), 1)
    found = decode_rgb(encode(image, "PNG", transparency=0))
    assert found[0].tolist() == [[255, 255, 255], [200, 0, 0]]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_first_frame_of_an_animation(kind: str) -> None:
    red, blue = (Image.new("RGB", (16, 16), colour) for colour in ("red", "blue"))
    lossless = {"lossless": True} if kind == "WEBP" else {}
    data = encode(red, kind, save_all=True, append_images=[blue], duration=100, **lossless)
    assert decode_rgb(data)[8, 8].tolist() == [255, 0, 0]


def test_floating_point_is_refused() -> None:
    with pytest.raises(DataError, match="floating-point"):
        decode_rgb(encode(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF"), name="depth.tif")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP"])
def test_truncated_files_are_refused_by_name(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encode(noise, kind)
    with pytest.raises(DataError, match=r"holiday\.img"):
        decode_rgb(data[: len(data) // 2], name="holiday.img")


def test_empty_and_foreign_files_say_what_they_are() -> None:
    with pytest.raises(DataError, match=r"a\.jpg: the file is empty"):
        decode_rgb(b"", name="a.jpg")
    with pytest.raises(DataError, match="not an image in a known format"):
        decode_rgb(b"<html>404</html>", name="a.jpg")


def test_decompression_bomb_is_refused_before_it_is_decoded() -> None:
    size = struct.pack(">IIBBBBB", 12_000, 12_000, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    assert read_header(png).width == 12_000  # within the default limit
    with pytest.raises(DataError, match="more than the 1000000 allowed"):
        decode_rgb(png, max_pixels=1_000_000)
    huge = png.replace(size, struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    huge = huge[:8] + chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)) + huge[33:]
    with pytest.raises(DataError, match="bomb"):
        read_header(huge)
    with pytest.raises(DataError, match="more than the 3000 allowed"):
        read_header(encode(smooth(), "JPEG"), max_pixels=3000)


@pytest.mark.parametrize("reduction", [2, 4, 8])
@pytest.mark.parametrize("orientation", [1, 6])
def test_reduced_decoding_is_the_small_image(reduction: int, orientation: int) -> None:
    # A turned image counts its blocks from the other end: they line up only where they fill the image.
    image = smooth(203, 301) if orientation == 1 else smooth(208, 304)
    data = encode(image, "JPEG", quality=95, exif=exif(orientation))
    full = decode_rgb(data)
    small = decode_rgb(data, reduction=reduction)
    assert small.shape[:2] == tuple(-(-side // reduction) for side in full.shape[:2])
    rows, columns = (side // reduction * reduction for side in full.shape[:2])
    blocks = full[:rows, :columns].reshape(rows // reduction, reduction, columns // reduction, reduction, 3)
    means = blocks.mean(axis=(1, 3))
    error = np.abs(small[: means.shape[0], : means.shape[1]] - means)
    assert error.mean() < 1.5


def test_jpeg_with_foreign_bytes_inside_is_still_used() -> None:
    data = encode(smooth(), "JPEG")
    dirty = data[:-2] + b"\0garbage" + data[-2:]
    assert np.abs(decode_rgb(dirty).astype(int) - decode_rgb(data)).mean() < 1


def test_paths_that_are_not_images(tmp_path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_rgb(tmp_path / "gone.jpg")
    with pytest.raises(DataError, match="is a folder"):
        read_rgb(tmp_path)


_VALID = [encode(smooth(), kind) for kind in FORMATS]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(
    st.sampled_from(_VALID),
    st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)), max_size=12),
    st.integers(0, 3000),
)
def test_damaged_bytes_give_an_image_or_a_data_error(
    data: bytes, edits: list[tuple[int, int]], cut: int
) -> None:
    damaged = bytearray(data[: max(1, len(data) - cut)] if cut % 3 == 0 else data)
    for place, value in edits:
        damaged[place % len(damaged)] = value
    image, message = np.zeros((1, 1, 3), np.uint8), "x"
    try:
        image = decode_rgb(bytes(damaged), name="x", max_pixels=10_000_000)
    except DataError as error:
        message = str(error)
    assert message.startswith("x")
    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3

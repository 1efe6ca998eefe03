"""What files may cost and start: formats, bombs of every format, strips, memory that is short."""

import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import PNG_START, chunk, encode, exif, field
from PIL import Image

from codistill.errors import DataError
from codistill.imaging import (
    FORMATS,
    bad_image,
    decode_map,
    decode_rgb,
    read_header,
    resize_rgb,
    without_ends,
)
from codistill.imaging.jpeg import MAX_SCANS

GREY = np.random.default_rng(0).integers(0, 256, (16, 24), dtype=np.uint8)
COLOUR = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "start", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n", b"\xc5\xd0\xd3\xc6" + b"\0" * 28]
)
def test_no_program_is_started(start: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called = tmp_path / "called"
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {called}\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    data = start + b"%%EndComments\n(evil) run\n%%EOF\n"
    for read in (read_header, decode_rgb, decode_map):
        with pytest.raises(DataError, match=r"photo\.jpg: not an image in a known format"):
            read(data, name="photo.jpg")
    assert not called.exists()


def test_no_file_is_opened_by_every_reader_that_pillow_has() -> None:
    """Whoever opens an image names the formats, or leaves it to this package."""
    source = Path(__file__).parents[2] / "src"
    for file in source.rglob("*.py"):
        for line in file.read_text().splitlines():
            if "Image.open(" in line:
                assert "formats=" in line, f"{file}: {line}"
            assert "cv2.imread(" not in line and "plt.imread(" not in line, f"{file}: {line}"


@pytest.mark.parametrize("kind", ["ICO", "PCX", "IM", "SGI", "DDS", "ICNS", "SPIDER"])
def test_formats_that_are_not_listed_are_refused(kind: str) -> None:
    image = Image.fromarray(np.zeros((32, 32), np.float32 if kind == "SPIDER" else np.uint8))
    image = image if kind in ("SPIDER", "PCX", "IM", "SGI") else image.convert("RGBA")
    with pytest.raises(DataError, match="Wanted: JPEG, PNG, WEBP"):
        decode_rgb(encode(image, kind))


@pytest.mark.parametrize("kind", FORMATS)
def test_listed_formats_are_read_also_with_foreign_bytes_behind(kind: str) -> None:
    data = encode(COLOUR, kind)
    wanted = decode_rgb(data)
    assert wanted.shape == COLOUR.shape
    for tail in (b"\0" * 3000, b"trailing garbage" * 40, b"\xff", encode(COLOUR[:8], "JPEG")):
        np.testing.assert_array_equal(decode_rgb(data + tail), wanted)


def test_several_pictures_in_a_jpeg_give_the_first() -> None:
    data = encode(
        Image.fromarray(COLOUR), "MPO", save_all=True, append_images=[Image.new("RGB", (24, 16), "blue")]
    )
    np.testing.assert_array_equal(decode_rgb(data), decode_rgb(encode(COLOUR, "JPEG")))


def _huge_headers() -> dict[str, bytes]:
    side, webp = 60_000, (60_000 - 1).to_bytes(3, "little")
    tags = {256: side, 257: side, 258: 8, 259: 8, 262: 1, 273: 200, 277: 1, 278: side, 279: 8}
    tiles = {256: 8, 257: 8, 258: 8, 259: 8, 262: 1, 277: 1, 322: side, 323: side, 324: 220, 325: 8}
    jpeg = bytearray(encode(COLOUR, "JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", side, side)
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return {
        "JPEG": bytes(jpeg),
        "PNG": PNG_START + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)),
        "WEBP": b"RIFF\x2e\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + webp * 2 + b"VP8L\0\0\0\0",
        "GIF": b"GIF89a" + struct.pack("<HH", side, side) + b"\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\0;",
        "TIFF": exif("<", [(t, 4, 1, field("<", 4, v)) for t, v in tags.items()]).ljust(300, b"\0"),
        "TIFF of one tile": exif("<", [(t, 4, 1, field("<", 4, v)) for t, v in tiles.items()]).ljust(
            300, b"\0"
        ),
        "BMP": b"BM" + struct.pack("<IIIIiiHHIIIIII", 54, 0, 54, 40, side, side, 1, 24, 0, 0, 0, 0, 0, 0),
        "PPM": b"P6 60000 60000 255\n",
        "TGA": b"\0\0\x02" + b"\0" * 9 + struct.pack("<HH", side, side) + b"\x18\0",
    }


@pytest.mark.parametrize("kind", _huge_headers())
def test_a_small_file_that_asks_for_gigabytes_is_refused_by_its_header(kind: str) -> None:
    data, start = _huge_headers()[kind], time.process_time()
    for read in (read_header, decode_rgb, decode_map):
        with pytest.raises(DataError, match=r"more than the 178956970 allowed|bomb"):
            read(data)
    assert time.process_time() - start < 1


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "GIF"])
def test_a_raised_limit_holds_for_every_format_and_leaves_pillows_own(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    data = encode(GREY, kind)
    with pytest.raises(DataError, match=r"bomb|more than"):
        read_header(data, max_pixels=100)
    header = read_header(data, max_pixels=1000)
    assert decode_rgb(data, header=header, max_pixels=1).shape == decode_rgb(data).shape == (16, 24, 3)
    assert Image.MAX_IMAGE_PIXELS == 100


def test_a_jpeg_of_very_many_scans_is_refused_and_a_usual_one_is_not() -> None:
    data = encode(COLOUR, "JPEG", progressive=True)
    first = data.index(b"\xff\xda")
    last = data.rindex(b"\xff\xda")
    with pytest.raises(DataError, match=f"more than {MAX_SCANS} scans"):
        read_header(data[:-2] + data[last:-2] * MAX_SCANS + data[-2:])
    assert read_header(data).width == 24
    baseline = encode(COLOUR, "JPEG")  # what stands behind its end is not read
    assert read_header(baseline + data[first:-2] * MAX_SCANS).width == 24


def test_memory_that_is_short_makes_a_bad_image() -> None:
    for error in (
        MemoryError(),
        cv2.error("OpenCV: Insufficient memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
    ):
        with pytest.raises(DataError, match=r"a\.jpg: cannot be used"), bad_image("a.jpg"):
            raise error
    with pytest.raises(RuntimeError, match="a fault of ours"), bad_image("a.jpg"):
        raise RuntimeError("a fault of ours")


@pytest.mark.slow
def test_large_images_within_the_limit_are_bad_where_memory_ends() -> None:
    """A picture of 160 million pixels in a process that has 1 GB."""
    code = (
        "import io, resource, numpy as np\n"
        "from PIL import Image\n"
        "from codistill.errors import DataError\n"
        "from codistill.imaging import decode_rgb\n"
        "b = io.BytesIO(); Image.new('L', (12600, 12600)).save(b, 'PNG')\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (400 << 20),) * 2)\n"
        "try: decode_rgb(b.getvalue())\n"
        "except DataError as error: print('bad:', error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("bad: image")


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(1, 5), st.integers(1, 70_000), st.booleans(), st.integers(1, 700))
def test_random_strips_are_resized_within_bounds_or_refused(
    shorter: int, longer: int, tall: bool, wanted: int
) -> None:
    rows, columns = (longer, shorter) if tall else (shorter, longer)
    image = np.zeros((rows, columns, 3), np.uint8)
    middle = without_ends(image)
    assert max(middle.shape[:2]) <= 16 * min(middle.shape[:2])
    factor = wanted / min(image.shape[:2])
    size = (max(1, round(rows * factor)), max(1, round(columns * factor)))
    if size[0] * size[1] > max(1 << 26, rows * columns):
        with pytest.raises(DataError, match=f"{columns}x{rows} pixels would be enlarged"):
            resize_rgb(image, size)
    with pytest.raises(DataError, match="nothing is left"):
        resize_rgb(image, (0, 5))


def test_the_middle_of_a_strip_is_cut_and_other_images_stay() -> None:
    strip = np.arange(100)[None, :, None].repeat(2, 0)
    assert without_ends(strip)[0, :, 0].tolist() == list(range(34, 66))
    assert without_ends(strip.swapaxes(0, 1))[:, 0, 0].tolist() == list(range(34, 66))
    assert without_ends(COLOUR) is COLOUR or without_ends(COLOUR).shape == COLOUR.shape

"""Samples of 16 bits: scaled where it is known by how much, refused where dark and unscaled look the same."""

import io

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from image_files import chunk, encode, insert_chunks, png
from PIL import Image

from codistill.errors import DataError
from codistill.imaging import decode_map, decode_rgb

RNG = np.random.default_rng(0)


def stated(data: bytes, *bits: int) -> bytes:
    return insert_chunks(data, chunk(b"sBIT", bytes(bits)))


def ramp(bits: int, channels: int = 1) -> np.ndarray:
    """(16, 16[, channel]): all of 0..255 in `bits` bits, and what they look like in 8."""
    values = np.arange(256).reshape(16, 16)
    values = values if channels == 1 else np.stack([np.roll(values, n) for n in range(channels)], axis=-1)
    return values


def as_bits(values: np.ndarray, bits: int) -> np.ndarray:
    return np.round(values * ((1 << bits) - 1) / 255).astype(np.uint16)


@pytest.mark.parametrize("bits", [9, 10, 11, 12, 13, 14, 15])
@pytest.mark.parametrize("channels", [1, 3])
def test_samples_of_fewer_bits_fill_the_range_where_the_file_states_them(bits: int, channels: int) -> None:
    wanted = ramp(bits, channels)
    found = decode_rgb(stated(png(as_bits(wanted, bits)), *[bits] * channels))
    np.testing.assert_array_equal(found if channels == 3 else found[..., 0], wanted)


@pytest.mark.parametrize("bits", [1, 5, 8, 10, 12, 14])
def test_samples_that_are_scaled_as_the_standard_says_stay(bits: int) -> None:
    """Shifted, repeated, or multiplied; also a picture that is dark, as long as it says something."""
    numbers = np.arange(256).reshape(16, 16) % (1 << bits)
    multiplied = np.round(numbers * 65535 / ((1 << bits) - 1)).astype(np.uint16)
    for samples in (multiplied, (numbers << (16 - bits)).astype(np.uint16)):
        if samples.max() >= 4096:
            found = decode_rgb(stated(png(samples), bits))[..., 0]
            np.testing.assert_array_equal(found, (samples.astype(int) + 128) // 257)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("top", [200, 1023, 4095])
def test_samples_that_may_be_dark_or_unscaled_are_refused(top: int, channels: int) -> None:
    samples = RNG.integers(0, top + 1, (8, 9, channels), dtype=np.uint16)
    samples[0, 0] = top
    if channels in (2, 4):
        samples[..., -1] = 65535  # opaque: says nothing of the colours
    with pytest.raises(DataError, match=rf"scan\.png: its 16-bit samples reach {top} of 65535"):
        decode_rgb(png(samples), name="scan.png")
    says_sixteen = stated(png(samples), *[16] * channels)
    assert decode_rgb(says_sixteen).max() == round(top / 257)
    if top == 4095:
        assert decode_rgb(stated(png(samples), *[12] * channels)).max() == 255


def test_black_is_black_and_dark_pictures_with_light_stay() -> None:
    assert decode_rgb(png(np.zeros((4, 5), np.uint16))).max() == 0
    night = RNG.integers(0, 3000, (8, 9), dtype=np.uint16)
    night[0, 0] = 4096
    np.testing.assert_array_equal(decode_rgb(png(night))[..., 0], (night.astype(int) + 128) // 257)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.integers(1, 4),
    st.lists(st.integers(0, 65535), min_size=12, max_size=12),
    st.one_of(st.none(), st.just(16)),
)
def test_true_sixteen_bits_are_never_stretched(channels: int, values: list[int], says: int | None) -> None:
    samples = np.resize(np.array(values, np.uint16), (3, 4, channels))
    if channels in (2, 4):
        samples[..., -1] = 65535
    colours = samples[..., : 1 if channels < 3 else 3]
    assume(says or colours.max() >= 4096 or colours.max() == 0)
    data = png(samples) if says is None else stated(png(samples), *[16] * channels)
    wanted = np.broadcast_to((colours.astype(int) + 128) // 257, (3, 4, 3))
    np.testing.assert_array_equal(decode_rgb(data), wanted)


def test_transparency_of_sixteen_bits() -> None:
    samples = RNG.integers(5000, 65536, (3, 4, 4), dtype=np.uint16)
    alpha = samples[..., 3:] / 65535
    wanted = samples[..., :3] / 257 * alpha + 255 * (1 - alpha)
    assert np.abs(decode_rgb(png(samples)) - wanted).max() <= 1.5
    grey = samples[..., [0, 3]]
    assert np.abs(decode_rgb(png(grey)) - wanted[..., :1]).max() <= 1.5
    for colours in (samples[..., :3], samples[..., 0]):  # one colour is transparent
        key = chunk(b"tRNS", np.array(colours[1, 1], ">u2").tobytes())
        found = decode_rgb(insert_chunks(png(colours), key))
        assert found[1, 1].tolist() == [255, 255, 255]
        assert found[0, 0, 0] == (int(samples[0, 0, 0]) + 128) // 257


def test_tiffs_state_their_bits() -> None:
    wanted = ramp(16)
    np.testing.assert_array_equal(decode_rgb(encode(as_bits(wanted, 16), "TIFF"))[..., 0], wanted)
    with pytest.raises(DataError, match="reach 4095 of 65535"):
        decode_rgb(encode(as_bits(wanted, 12), "TIFF"))
    with pytest.raises(DataError, match="32-bit integers have no known range"):
        decode_rgb(encode(Image.fromarray(wanted.astype(np.int32) * 9_000_000), "TIFF"))


def test_pgm_and_jpeg2000_state_their_range() -> None:
    numbers = as_bits(ramp(12), 12)
    pgm = b"P5\n# a sensor\n16 16\n4095\n" + numbers.astype(">u2").tobytes()
    np.testing.assert_array_equal(decode_rgb(pgm)[..., 0], ramp(12))
    np.testing.assert_array_equal(decode_map(pgm), numbers)
    dark = (b"P5\n16 16\n4095\n") + (numbers // 20).astype(">u2").tobytes()
    assert decode_rgb(dark).max() == round(204 / 4095 * 255)  # it says that it is dark
    deep = decode_rgb(encode(Image.fromarray(as_bits(ramp(16), 16)), "JPEG2000", irreversible=False))
    np.testing.assert_array_equal(deep[..., 0], ramp(16))


def test_integers_in_memory_without_a_known_range_are_refused() -> None:
    from codistill.imaging import pillow_to_rgb

    for values in (np.array([[0, 70_000]], np.int32), np.array([[-1, 30_000]], np.int32)):
        with pytest.raises(DataError, match="of no known range"):
            pillow_to_rgb(Image.fromarray(values))
    opened = Image.open(io.BytesIO(encode(as_bits(ramp(16), 16))))
    np.testing.assert_array_equal(pillow_to_rgb(opened)[..., 0], ramp(16))

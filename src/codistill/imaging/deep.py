"""Convert samples of more than 8 bits to 8 bits: the full range becomes 0 to 255; unscaled lower depths are detected.

A 16-bit file may hold the 10 or 12 bits of a sensor, unscaled; read as 16 bits it is nearly black. PNG's chunk sBIT
gives the number of significant bits. The standard (PNG specification, "Sample depth scaling") requires samples to be
scaled to the full range even then. So samples are only scaled here if they cannot have been scaled before: all of them
fit into the significant bits, and their low bits are such as no scaling produces. Without sBIT, dark and unscaled
pictures look the same, which is an error.
"""

import numpy as np

from codistill.errors import DataError

_FULL = 65535
_TOO_DARK = 1 << 12
"""Below this value, no sample of a 16-bit image would become brighter than 15 of 255."""
_ROWS = 1024
"""Rows processed at once, to save memory for wider numbers."""


def eight_bits(
    samples: np.ndarray, significant: tuple[int, ...] = (), *, unscaled: bool = False, full: bool = False
) -> np.ndarray:
    """Convert samples of up to 16 bits to 8 bits.

    Args:
        samples: (row, column) or (row, column, channel), integers from 0 to 65535.
        significant: significant bits of each channel, if in the file.
        unscaled: the samples are known to be numbers of that many bits, not scaled to 16.
        full: the samples are known to use the full range; no picture is too dark.

    Raises:
        DataError: if samples are outside of 16 bits, or their number of bits is ambiguous.
    """
    low, high = (int(samples.min()), int(samples.max())) if samples.size else (0, 0)
    if low < 0 or high > _FULL:
        raise DataError(
            f"samples from {low} to {high} are of no known range; convert the file to 8 or 16 bits without sign"
        )
    if unscaled or _hold_fewer_bits(samples, significant):
        top = np.array([(1 << bits) - 1 for bits in significant], dtype=np.uint32)
        return _scaled(samples, top[0] if samples.ndim == 2 else top)
    says_sixteen = bool(significant) and min(significant) == 16
    if 0 < high < _TOO_DARK and not full and not says_sixteen:
        raise DataError(
            f"its 16-bit samples reach {high} of 65535: it is almost black, or holds fewer bits than 16, and the file "
            "does not say which. Scale the samples to the full range, convert them to 8 bits, or state their bits in "
            "PNG's sBIT chunk."
        )
    return _scaled(samples, np.uint32(_FULL))


def _hold_fewer_bits(samples: np.ndarray, significant: tuple[int, ...]) -> bool:
    """Whether samples are numbers of `significant` bits that were not scaled to 16."""
    if not significant or max(significant) >= 16:
        return False
    channels = samples[..., None] if samples.ndim == 2 else samples
    planes = [(channels[..., index], bits) for index, bits in enumerate(significant)]
    if any(plane.size and plane.max() >> bits for plane, bits in planes):
        return False
    return any(not _can_be_scaled(plane, bits) for plane, bits in planes)


def _can_be_scaled(plane: np.ndarray, bits: int) -> bool:
    """Whether all samples can be the result of scaling `bits` to 16 by shifting, repeating or multiplying."""
    top = (plane >> (16 - bits)).astype(np.uint32)
    shifted = top << (16 - bits)
    repeated, width = shifted.copy(), bits
    while width < 16:  # repeat the bits downwards: abc becomes abcabcab…
        repeated |= repeated >> width
        width *= 2
    most = (1 << bits) - 1
    nearest = (plane.astype(np.uint32) * most + _FULL // 2) // _FULL
    multiplied = (2 * nearest * _FULL + most) // (2 * most)  # rounded to the nearest
    return any(bool((plane == scaled).all()) for scaled in (shifted, repeated, multiplied))


def _scaled(samples: np.ndarray, top: np.ndarray | np.uint32) -> np.ndarray:
    """Scale samples of 0..top to 0..255, rounded."""
    out = np.empty(samples.shape, dtype=np.uint8)
    for start in range(0, len(samples), _ROWS):
        rows = samples[start : start + _ROWS].astype(np.uint32)
        out[start : start + _ROWS] = np.minimum((rows * 255 + top // 2) // top, 255)
    return out

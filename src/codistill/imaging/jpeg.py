"""JPEG through libjpeg-turbo (simplejpeg), decoded straight at 1/1, 1/2, 1/4 or 1/8 of its size.

The inverse DCT of a smaller block costs less than a full one, and the smaller image costs less to resize. Only the
three halvings have vectorized kernels, so the factors between are not used.
"""

import numpy as np
import simplejpeg

REDUCTIONS = (8, 4, 2, 1)


def covering_reduction(available: tuple[int, int], wanted: tuple[int, int]) -> int:
    """Largest reduction at which a region of `available` pixels still has `wanted` (rows, columns) or more."""
    for reduction in REDUCTIONS:
        if all(have >= reduction * want for have, want in zip(available, wanted, strict=True)):
            return reduction
    return 1


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Stored (rows, columns) of a JPEG that simplejpeg turns into RGB; None for CMYK and for damaged headers.

    simplejpeg raises KeyError for a chroma subsampling that it has no name for.
    """
    try:
        height, width, colour, _ = simplejpeg.decode_jpeg_header(data, strict=False)
    except (ValueError, KeyError):
        return None
    return None if colour in ("CMYK", "YCCK") else (int(height), int(width))


def decode_jpeg(data: bytes, size: tuple[int, int], reduction: int) -> np.ndarray | None:
    """Stored pixels (row, column, 3) at 1/reduction of `size`, rounded up; None where the data is not clean."""
    rows, columns = (-(-side // reduction) for side in size)
    try:
        return simplejpeg.decode_jpeg(data, min_height=rows, min_width=columns, min_factor=reduction)
    except (ValueError, KeyError):
        return None

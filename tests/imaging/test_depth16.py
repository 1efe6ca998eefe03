"""Depth in 16 bits: there and back for every number, what does not fit, and what has no sky."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codistill.errors import DataError
from codistill.imaging.depth16 import from_metres, to_metres

ALL = np.arange(65536, dtype=np.uint16)


@pytest.mark.parametrize("unit", [0.001, 1 / 256, 80 / 65535])
@pytest.mark.parametrize("sky", [True, False])
def test_every_number_comes_back(unit: float, sky: bool) -> None:
    metres = to_metres(ALL, unit, sky=sky)
    assert metres.dtype == np.float32
    np.testing.assert_array_equal(from_metres(metres, unit, sky=sky), ALL)
    np.testing.assert_array_equal(metres[:-1], (ALL[:-1].astype(np.longdouble) * unit).astype(np.float32))
    assert metres[-1] == (np.inf if sky else np.float32(65535 * unit))


def test_unknown_sky_and_what_is_too_far() -> None:
    depth = np.array([0.0, -1.0, np.nan, np.inf, 1.2345, 1e-4, 70.0, 65.5345], dtype=np.float32)
    assert from_metres(depth).tolist() == [0, 0, 0, 65535, 1234, 1, 0, 65534]
    assert from_metres(depth, sky=False).tolist() == [0, 0, 0, 65535, 1234, 1, 65535, 65534]


@given(st.floats(0.001, 1000.0))
def test_depth_that_does_not_fit_is_unknown_and_never_a_number(metres: float) -> None:
    back = float(to_metres(from_metres(np.array([metres])))[0])
    assert back == pytest.approx(metres, abs=5.1e-4) if metres < 65.534 else back in (0.0, np.float32(65.534))


def test_previews_are_refused() -> None:
    with pytest.raises(DataError, match="no 16-bit depth map"):
        to_metres(ALL.astype(np.uint8))

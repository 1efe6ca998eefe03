"""CheckResult and the two comparisons that verification rests on."""

import math

import pytest
import torch

from codistill.verify.check import absent, compare_numbers, compare_tensors


def test_tensor_difference_is_relative_to_the_largest_expected_value() -> None:
    result = compare_tensors("x", torch.tensor([0.0, 100.1]), torch.tensor([0.0, 100.0]), 1e-2)
    assert result.status == "passed"
    assert result.difference == pytest.approx(1e-3, rel=1e-4)
    assert (
        compare_tensors("x", torch.tensor([0.0, 102.0]), torch.tensor([0.0, 100.0]), 1e-2).status == "failed"
    )


def test_nan_never_passes() -> None:
    nan = torch.tensor([math.nan, 1.0])
    assert compare_tensors("x", nan, torch.ones(2), 1e9).status == "failed"
    assert compare_tensors("x", torch.ones(2), nan, 1e9).status == "failed"
    assert compare_numbers("x", math.nan, 1.0, 1e9).status == "failed"


def test_shapes_must_agree_and_zero_tolerance_is_exact() -> None:
    result = compare_tensors("x", torch.zeros(2, 3), torch.zeros(3, 2), 1.0)
    assert result.status == "failed"
    assert "(2, 3)" in result.detail and "(3, 2)" in result.detail
    assert compare_tensors("x", torch.tensor([1, 2]), torch.tensor([1, 2]), 0.0).status == "passed"
    assert compare_tensors("x", torch.tensor([1, 3]), torch.tensor([1, 2]), 0.0).status == "failed"


def test_an_absent_file_is_named() -> None:
    result = absent("losses", "losses.json")
    assert result.status == "absent" and "losses.json" in result.detail

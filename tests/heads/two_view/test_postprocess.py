"""Raw channels to predictions: the recorded numbers, the origin, bounds, error texts."""

import math

import pytest
import torch

from codistill.errors import ConfigError
from codistill.heads.two_view.postprocess import ConfidenceMode, raw_to_descriptors, raw_to_points


def test_recorded_numbers() -> None:
    points = raw_to_points(torch.tensor([0.3, -0.4, 1.2]))
    torch.testing.assert_close(points, torch.tensor([0.6159916, -0.8213221, 2.4639664]), atol=1e-6, rtol=0)
    confidence = ConfidenceMode()(torch.tensor([0.0, 1.0, -2.0]))
    torch.testing.assert_close(confidence, torch.tensor([2.0, 3.7182817, 1.1353353]), atol=1e-6, rtol=0)


def test_distances_grow_exponentially_along_the_direction() -> None:
    raw = torch.randn(50, 3, dtype=torch.float64)
    points = raw_to_points(raw)
    torch.testing.assert_close(points.norm(dim=1), raw.norm(dim=1).exp() - 1)
    torch.testing.assert_close(torch.linalg.cross(points, raw), torch.zeros_like(raw), atol=1e-12, rtol=0)


def test_the_origin_has_a_value_and_a_finite_gradient() -> None:
    raw = torch.zeros(2, 3, requires_grad=True)
    points = raw_to_points(raw)
    points.sum().backward()
    assert not points.detach().any()
    assert raw.grad is not None and torch.isfinite(raw.grad).all()


def test_gradient() -> None:
    raw = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(raw_to_points, (raw,))
    assert torch.autograd.gradcheck(raw_to_descriptors, (raw,))


def test_bounded_modes() -> None:
    raw = torch.tensor([-100.0, 0.0, 100.0])
    assert ConfidenceMode(low=1.0, high=5.0)(raw).tolist() == [1.0, 2.0, 5.0]
    assert ConfidenceMode(kind="sigmoid", low=0.0, high=4.0)(raw).tolist() == [0.0, 2.0, 4.0]


def test_descriptors_are_unit_vectors() -> None:
    torch.testing.assert_close(raw_to_descriptors(7 * torch.randn(5, 24)).norm(dim=1), torch.ones(5))


def test_unknown_modes_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"'expo'. Did you mean 'exp'"):
        ConfidenceMode(kind="expo")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="low < high"):
        ConfidenceMode(low=2.0, high=1.0)
    with pytest.raises(ConfigError, match="finite high"):
        ConfidenceMode(kind="sigmoid", low=0.0, high=math.inf)

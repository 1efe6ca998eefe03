import math

import pytest
import torch

from codistill.metrics.normals import NORMAL_METRICS, angles, known_normals, normal_scores


def random_normals(*shape: int, seed: int = 0) -> torch.Tensor:
    vectors = torch.randn(*shape, 3, generator=torch.Generator().manual_seed(seed))
    return vectors / vectors.norm(dim=-1, keepdim=True)


def slow_scores(prediction: torch.Tensor, truth: torch.Tensor) -> dict[str, float]:
    """The six numbers in plain Python, the angle by the arc cosine."""
    errors = []
    for p, t in zip(prediction.reshape(-1, 3).tolist(), truth.reshape(-1, 3).tolist(), strict=True):
        if t != [0.0, 0.0, 0.0]:
            errors.append(
                math.degrees(math.acos(max(-1.0, min(1.0, sum(map(math.prod, zip(p, t, strict=True)))))))
            )
    errors.sort()
    n = len(errors)
    middle = errors[n // 2] if n % 2 else (errors[n // 2 - 1] + errors[n // 2]) / 2
    shares = {
        name: 100 * sum(e < limit for e in errors) / n
        for name, limit in (("a11", 11.25), ("a22", 22.5), ("a30", 30))
    }
    rmse = math.sqrt(sum(e * e for e in errors) / n)
    return {"mean": sum(errors) / n, "median": middle, "rmse": rmse, **shares}


@pytest.mark.parametrize("unknown", [0, 1, 7])
def test_scores_equal_the_formulas_written_out(unknown):
    truth = random_normals(6, 7)
    prediction = torch.nn.functional.normalize(truth + 0.4 * random_normals(6, 7, seed=1), dim=-1)
    truth.view(-1, 3)[:unknown] = 0.0
    found = normal_scores(prediction, truth)
    expected = slow_scores(prediction.double(), truth.double())
    for name, value in zip(NORMAL_METRICS, found.tolist(), strict=True):
        assert value == pytest.approx(expected[name], rel=1e-4), name


def test_an_image_without_a_known_normal_is_nan():
    found = normal_scores(random_normals(2, 3), torch.zeros(2, 3, 3))
    assert found.isnan().all() and len(found) == len(NORMAL_METRICS)
    assert known_normals(torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, -1.0]])).tolist() == [False, True]


def test_small_angles_keep_their_digits_and_slopes_are_finite():
    tiny = torch.tensor(1e-4)
    turned = torch.stack((tiny.sin(), torch.tensor(0.0), -tiny.cos()))
    ahead = torch.tensor([0.0, 0.0, -1.0])
    assert angles(turned, ahead).item() == pytest.approx(1e-4, rel=1e-3)
    assert angles(ahead, -ahead).item() == pytest.approx(math.pi)
    for other in (ahead, -ahead, turned):
        vector = ahead.clone().requires_grad_()
        angles(vector, other).backward()
        assert vector.grad is not None and vector.grad.isfinite().all()
    one, other = random_normals(4, seed=2).double(), random_normals(4, seed=3).double()
    one.requires_grad_()
    assert torch.autograd.gradcheck(lambda v: angles(v / v.norm(dim=-1, keepdim=True), other), (one,))

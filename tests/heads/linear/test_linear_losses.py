import math

import pytest
import torch
from torch.nn.functional import interpolate

from codistill.heads.linear.losses import gradient_loss, pixel_cross_entropy, sig_loss

PREDICTION = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
TRUTH = torch.tensor([[[[1.1, 1.8], [3.3, 0.0]]]])


def test_sig_loss_has_the_published_values():
    assert sig_loss(PREDICTION, TRUTH).item() == pytest.approx(0.1163114, abs=1e-7)
    assert sig_loss(PREDICTION, TRUTH, starting=True).item() == pytest.approx(0.0109985, abs=1e-7)


def test_sky_and_missing_truth_take_no_part():
    with_sky = torch.cat([TRUTH, torch.full_like(TRUTH, torch.inf)], dim=-1)
    assert sig_loss(torch.cat([PREDICTION, PREDICTION], dim=-1), with_sky) == sig_loss(PREDICTION, TRUTH)


def test_reducing_some_axes_gives_the_losses_of_the_others():
    generator = torch.Generator().manual_seed(0)
    predictions = torch.rand(3, 20, generator=generator) + 0.5
    truth = torch.rand(20, generator=generator) + 0.5
    truth[:4] = 0.0
    together = sig_loss(predictions, truth.expand(3, 20), dim=(1,))
    for one, prediction in zip(together, predictions, strict=True):
        assert one.item() == pytest.approx(sig_loss(prediction, truth).item(), rel=1e-6)


def test_sig_loss_gradients_are_right_and_finite_without_truth():
    prediction = (torch.rand(2, 6, dtype=torch.float64) + 0.5).float().requires_grad_()
    truth = torch.rand(2, 6) + 0.5
    sig_loss(prediction, truth).backward()
    step = torch.zeros_like(truth)
    step[1, 2] = 1e-2
    with torch.no_grad():
        slope = (sig_loss(prediction + step, truth) - sig_loss(prediction - step, truth)) / 2e-2
    assert prediction.grad is not None
    assert prediction.grad[1, 2].item() == pytest.approx(slope.item(), rel=2e-2)
    prediction.grad = None
    sig_loss(prediction, torch.zeros(2, 6)).backward()
    assert not prediction.grad.any()


def slow_cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> list[float]:
    rows = logits.permute(0, 2, 3, 1).reshape(-1, logits.shape[1]).tolist()
    return [
        math.log(sum(math.exp(x) for x in row)) - row[label]
        for row, label in zip(rows, labels.flatten().tolist(), strict=True)
        if label != 255
    ]


def test_ignored_pixels_count_in_the_denominator_unless_asked_otherwise():
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 2, 2)
    labels = torch.randint(0, 3, (2, 5, 4))
    labels[0, :2] = 255
    resized = interpolate(logits, size=(5, 4), mode="bilinear", align_corners=False)
    losses = slow_cross_entropy(resized, labels)
    assert len(losses) == 32
    assert pixel_cross_entropy(logits, labels).item() == pytest.approx(sum(losses) / 40, rel=1e-5)
    found = pixel_cross_entropy(logits, labels, ignored_count=False)
    assert found.item() == pytest.approx(sum(losses) / 32, rel=1e-5)


def test_labels_may_be_bytes_and_wholly_ignored():
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    loss = pixel_cross_entropy(logits, torch.full((1, 4, 4), 255, dtype=torch.uint8), ignored_count=False)
    loss.backward()
    assert loss == 0 and logits.grad is not None and not logits.grad.any()


def test_the_gradient_loss_sees_slopes_and_no_offsets():
    ramp = torch.arange(1.0, 17.0).view(1, 1, 1, 16).expand(1, 1, 16, 16)
    assert gradient_loss(2.0 * ramp, ramp).item() < 0.05  # a factor is an offset in the logarithm
    assert gradient_loss(ramp.flip(-1), ramp).item() > 1.0
    # One scale by hand: g = [a, b, c] in one row of three, |c - a| over three pixels; other strides see fewer than 3.
    p, t = torch.tensor([[[[1.0, 2.0, 4.0]]]]), torch.ones(1, 1, 1, 3)
    expected = (math.log(4.001) - math.log(1.001)) / 3
    assert gradient_loss(p, t).item() == pytest.approx(expected, rel=1e-6)

"""The moving average of the weights: against the formula, without gradients, saved under its own names."""

import pytest
import torch

from codistill.encoders.vit import ViTEncoder
from codistill.errors import ConfigError
from codistill.nn.vit import ViTConfig
from codistill.student.student import Student
from codistill.types import TargetSpec


def student() -> Student:
    torch.manual_seed(0)
    encoder = ViTEncoder(ViTConfig(dim=16, depth=1, num_heads=2, patch_size=7, image_size=14))
    return Student(encoder, (TargetSpec(name="a", dim=4),))


def test_average_follows_the_formula() -> None:
    model, decay = student(), 0.8
    model.keep_average(decay)
    expected = {name: p.detach().clone().double() for name, p in model.encoder.named_parameters()}
    for _ in range(5):
        with torch.no_grad():
            for p in model.parameters():
                if p.requires_grad:
                    p.add_(torch.randn_like(p))
        model.update_average()
        for name, p in model.encoder.named_parameters():
            expected[name] = decay * expected[name] + (1 - decay) * p.detach().double()
    average = model.average["encoder"]  # type: ignore[index]
    for name, p in average.named_parameters():
        torch.testing.assert_close(p.double(), expected[name], atol=1e-5, rtol=1e-5)


def test_average_stays_after_a_skipped_step() -> None:
    model, other = student(), student()
    for one, skipped in ((model, torch.zeros(())), (other, None)):
        one.keep_average(0.8)
        with torch.no_grad():
            one.encoder.cls_token.add_(1.0)
        one.update_average(skipped)
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    for name, value in other.state_dict().items():
        assert torch.equal(kept[name], value), name
    model.update_average(torch.ones(()))
    for name, value in model.state_dict().items():
        assert torch.equal(kept[name], value), name


def test_average_is_saved_never_trained_and_shares_no_memory() -> None:
    model = student()
    plain = set(model.state_dict())
    model.update_average()  # nothing is kept: nothing happens
    model.keep_average(0.5)
    added = set(model.state_dict()) - plain
    assert added == {f"average.{n}" for n in plain if n.startswith(("encoder.", "projectors."))}
    assert not any(p.requires_grad for n, p in model.named_parameters() if n.startswith("average."))
    assert model.train().average.training is False  # type: ignore[union-attr]
    before = model.average["encoder"].cls_token.clone()  # type: ignore[index]
    with torch.no_grad():
        model.encoder.cls_token.add_(1)
    torch.testing.assert_close(model.average["encoder"].cls_token, before)  # type: ignore[index]


def test_a_decay_of_one_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"\[0, 1\)"):
        student().keep_average(1.0)

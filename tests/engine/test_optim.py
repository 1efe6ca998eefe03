import math

import pytest
import torch
from torch import nn

from codistill.engine.optim import OptimConfig, TrainOptimizer, decayed
from codistill.errors import ConfigError


def network() -> nn.Module:
    torch.manual_seed(3)
    module = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 2))
    module.register_parameter("pos_embed", nn.Parameter(torch.randn(1, 4)))
    module.register_parameter("mask_token", nn.Parameter(torch.randn(1, 3)))
    return module


def gradients_at(step: int, module: nn.Module) -> None:
    """Gradients of very different size, the same for every module of this shape; mask_token gets none."""
    generator = torch.Generator().manual_seed(step)
    for name, p in module.named_parameters():
        value = torch.randn(p.shape, generator=generator) * (10.0 if name.startswith("0") else 0.01)
        p.grad = None if name == "mask_token" else value


def optimizer_of(module: nn.Module, steps: int = 10, **options) -> TrainOptimizer:
    config = OptimConfig(**{"lr": 0.1, "reference_batch": 4, **options})
    return TrainOptimizer(module.named_parameters(), config, total_steps=steps, global_batch=2)


def by_hand(module: nn.Module, config: OptimConfig, lrs: list[float]) -> dict[str, torch.Tensor]:
    """AdamW with decoupled decay and per-tensor clipping, from its paper's formulas, in fp64."""
    values = {name: p.detach().double() for name, p in module.named_parameters()}
    first = {name: torch.zeros_like(v) for name, v in values.items()}
    second = {name: torch.zeros_like(v) for name, v in values.items()}
    beta1, beta2 = config.betas
    for step, lr in enumerate(lrs):
        gradients_at(step, module)
        for name, p in module.named_parameters():
            if p.grad is None:
                continue
            gradient = p.grad.double()
            coefficient = config.clip_norm / (math.sqrt(float((gradient**2).sum())) + 1e-6)
            gradient = gradient * coefficient if coefficient < 1 else gradient
            first[name] = beta1 * first[name] + (1 - beta1) * gradient
            second[name] = beta2 * second[name] + (1 - beta2) * gradient**2
            decay = config.weight_decay if p.ndim >= 2 else 0.0
            unbiased = (second[name] / (1 - beta2 ** (step + 1))).sqrt() + config.eps
            values[name] = (
                values[name] * (1 - lr * decay) - lr * first[name] / (1 - beta1 ** (step + 1)) / unbiased
            )
    return values


def test_ten_steps_equal_the_formulas():
    module = network()
    optimizer = optimizer_of(module)
    expected = by_hand(network(), optimizer.config, optimizer.learning_rates)
    for step in range(10):
        gradients_at(step, module)
        optimizer.update(step, optimizer.measure())
    assert optimizer.learning_rates[1] == pytest.approx(
        0.05
    )  # the peak, scaled by 2 / 4, after two warm-up steps
    for name, p in module.named_parameters():
        torch.testing.assert_close(p.detach().double(), expected[name], rtol=2e-6, atol=2e-7, msg=name)


def test_what_decays():
    shapes = {"w": (2, 2), "cls_token": (1, 1, 4), "head.bias": (3, 3), "gamma": (4,), "scale": ()}
    assert [n for n, shape in shapes.items() if decayed(n, torch.zeros(shape))] == ["w", "cls_token"]


def test_a_prefix_slows_its_parameters_down_by_its_factor():
    """AdamW without decay is linear in the learning rate at the first step; the longest prefix counts."""
    plain, scaled = network(), network()
    before = {name: p.detach().clone() for name, p in plain.named_parameters()}
    for module, scales in ((plain, ()), (scaled, (("0.", 0.5), ("0.bias", 0.25)))):
        optimizer = optimizer_of(module, weight_decay=0.0, lr_scales=scales)
        gradients_at(0, module)
        optimizer.update(1, optimizer.measure())
    factors = {"0.weight": 0.5, "0.bias": 0.25, "2.weight": 1.0, "2.bias": 1.0, "pos_embed": 1.0}
    moved, slower = dict(plain.named_parameters()), dict(scaled.named_parameters())
    for name, factor in factors.items():
        expected = factor * (moved[name] - before[name])
        torch.testing.assert_close(slower[name] - before[name], expected, rtol=1e-4, atol=1e-6)
    with pytest.raises(ConfigError, match=r"factor of '0\.' in lr_scales is 0\.0; it must be above 0"):
        OptimConfig(lr_scales=(("0.", 0.0),))
    with pytest.raises(
        ConfigError, match=r"names 'O\.', with which no .* begin with: pos_embed, mask_token, 0, 2"
    ):
        optimizer_of(network(), lr_scales=(("O.", 0.5),))
    with pytest.raises(ConfigError, match=r"gives '0\.' more than one factor"):
        optimizer_of(network(), lr_scales=(("0.", 0.5), ("0.", 0.2)))
    with pytest.raises(ConfigError, match=r"factor of '0\.' in lr_scales would have no effect"):
        optimizer_of(network(), lr_scales=(("0.", 0.5), ("0.weight", 0.2), ("0.bias", 0.2)))


def test_a_parameter_without_gradient_is_left_alone():
    module = network()
    before = module.mask_token.clone()
    optimizer = optimizer_of(module)
    for step in range(3):
        gradients_at(step, module)
        optimizer.update(step, optimizer.measure())
    assert torch.equal(module.mask_token, before)
    assert not any("mask_token" in key for key in optimizer.state_tensors())


def test_a_skipped_step_changes_nothing_at_all():
    module, undisturbed = network(), network()
    optimizer, reference = optimizer_of(module), optimizer_of(undisturbed)
    for step in range(4):
        gradients_at(step, undisturbed)
        reference.update(step, reference.measure(), torch.zeros(()))
        if step == 2:
            for p in module.parameters():
                p.grad = torch.full_like(p, torch.nan)
            module.mask_token.grad = None
            optimizer.update(step, optimizer.measure(), torch.ones(()))
        gradients_at(step, module)
        optimizer.update(step, optimizer.measure(), torch.zeros(()))
    for a, b in zip(module.parameters(), undisturbed.parameters(), strict=True):
        assert torch.equal(a, b)
    for key, tensor in reference.state_tensors().items():
        assert torch.equal(tensor, optimizer.state_tensors()[key]), key


def test_small_gradients_pass_the_clip_bit_for_bit_and_large_ones_end_at_the_limit():
    module = network()
    optimizer = optimizer_of(module, clip_norm=0.5)
    gradients_at(0, module)
    before = {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}
    norms = optimizer.measure()
    metrics = {name: value.item() for name, value in optimizer.metrics(norms).items()}
    optimizer.update(0, norms)
    small = [name for name, g in before.items() if g.norm() < 0.4]
    assert small and len(small) < len(before)
    for name, p in module.named_parameters():
        if name in small:
            assert torch.equal(p.grad, before[name])
        elif name in before:
            assert p.grad.norm() == pytest.approx(0.5, rel=1e-5)
    sizes = [float(g.norm()) for g in before.values()]
    assert metrics["gradient/clipped"] == len(before) - len(small)
    assert metrics["gradient/mean"] == pytest.approx(sum(sizes) / len(sizes), rel=1e-6)
    assert metrics["gradient/max"] == pytest.approx(max(sizes), rel=1e-6)


def test_global_clipping_is_torchs_and_none_is_none():
    module, reference = network(), network()
    for m in (module, reference):
        gradients_at(1, m)
    optimizer = optimizer_of(module, clip="global", clip_norm=0.3)
    optimizer.update(0, optimizer.measure())
    nn.utils.clip_grad_norm_(reference.parameters(), 0.3)
    for a, b in zip(module.parameters(), reference.parameters(), strict=True):
        if a.grad is not None:
            torch.testing.assert_close(a.grad, b.grad)
    gradients_at(1, module)
    before = module[0].weight.grad.clone()
    optimizer = optimizer_of(module, clip="none")
    norms = optimizer.measure()
    optimizer.update(0, norms)
    assert torch.equal(module[0].weight.grad, before)
    assert optimizer.metrics(norms)["gradient/clipped"] == 0


def test_saved_moments_go_on_bit_for_bit():
    module, other = network(), network()
    first = optimizer_of(module)
    for step in range(3):
        gradients_at(step, module)
        first.update(step, first.measure())
    other.load_state_dict(module.state_dict())
    second = optimizer_of(other)
    second.load_state({key: tensor.clone() for key, tensor in first.state_tensors().items()})
    for m, optimizer in ((module, first), (other, second)):
        gradients_at(3, m)
        optimizer.update(3, optimizer.measure())
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), other.parameters(), strict=True))


def test_nothing_to_train_and_foreign_moments_are_refused():
    frozen = network().requires_grad_(False)
    with pytest.raises(ConfigError, match="nothing to train"):
        optimizer_of(frozen)
    with pytest.raises(ConfigError, match=r"'exp_avg\.gone\.weight', which this model does not train"):
        optimizer_of(network()).empty_state(["exp_avg.gone.weight"])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"lr": -1.0}, "lr is -1"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"clip_norm": 0.0}, "clip = none"),
        ({"clip": "tensor"}, "per_tensor, global or none"),
        ({"betas": (0.9, 1.0)}, "betas"),
        ({"warmup_fraction": 2.0}, "between 0 and 1"),
        ({"reference_batch": 0}, "reference_batch"),
    ],
)
def test_impossible_options_say_what_is_allowed(options, text):
    with pytest.raises(ConfigError, match=text):
        OptimConfig(**options)

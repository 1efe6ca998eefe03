"""Noise on weights: moments by formula, gradients at the noisy weights, the same noise when a pass is repeated."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from codistill.nn.blocks import Block
from codistill.nn.linear import Linear
from codistill.nn.weight_noise import WeightNoise


def net(sigma: float) -> tuple[nn.Module, WeightNoise]:
    torch.manual_seed(0)
    module = nn.Sequential(Linear(6, 8), Block(8, 2, 16, layer_scale=0.5), nn.LayerNorm(8))
    return module, WeightNoise(module, sigma)


def test_without_sigma_without_a_key_and_in_evaluation_nothing_changes() -> None:
    x = torch.randn(2, 3, 6)
    plain, _ = net(0.0)
    wanted = plain(x)
    zero, noise = net(0.0)
    noise.draw(1)
    assert torch.equal(zero(x), wanted)
    noisy, noise = net(0.5)
    assert torch.equal(noisy(x), wanted)  # no key yet
    noise.draw(1)
    assert not torch.equal(noisy(x), wanted)
    assert torch.equal(noisy.eval()(x), wanted)
    assert noisy.state_dict().keys() == plain.state_dict().keys()
    assert all(torch.equal(v, plain.state_dict()[k]) for k, v in noisy.state_dict().items())


def test_moments_of_a_linear_layer() -> None:
    torch.manual_seed(1)
    layer, sigma, v = nn.Linear(5, 3), 0.3, torch.randn(5)
    wrapper = nn.Sequential(layer)
    noise = WeightNoise(wrapper, sigma)
    outputs = []
    with torch.no_grad():
        for key in range(1000):
            noise.draw(key)
            outputs.append(wrapper(v))
    found = torch.stack(outputs)
    w = layer.weight.detach()
    variance = sigma**2 * (w**2 @ v**2)
    error = (found.mean(0) - (w @ v + layer.bias)).abs() / (variance / 1000).sqrt()
    assert error.max() < 4  # standard errors
    torch.testing.assert_close(found.var(0), variance.detach(), rtol=0.2, atol=0)


def test_the_gradient_is_that_at_the_noisy_weights() -> None:
    layer = nn.Linear(5, 3)
    wrapper, x = nn.Sequential(layer), torch.randn(4, 5)
    noise = WeightNoise(wrapper, 0.5)
    noise.draw(7)
    wrapper(x).square().sum().backward()
    with torch.no_grad():
        noisy = wrapper(x)  # the same key gives the same weights
    torch.testing.assert_close(layer.weight.grad, 2 * noisy.T @ x)  # no factor 1 + sigma n
    torch.testing.assert_close(layer.bias.grad, 2 * noisy.sum(0))


def test_recomputed_passes_see_the_same_noise_and_keys_and_layers_other_noise() -> None:
    x = torch.randn(2, 3, 6)

    def gradients(again: bool, key: int) -> list[torch.Tensor]:
        module, noise = net(0.3)
        noise.draw(3, key)
        y = checkpoint(module, x, use_reentrant=False) if again else module(x)
        y.square().sum().backward()  # type: ignore[union-attr]
        return [p.grad for p in module.parameters()]  # type: ignore[misc]

    plain, again, other = gradients(False, 0), gradients(True, 0), gradients(False, 1)
    assert all(torch.equal(a, b) for a, b in zip(plain, again, strict=True))
    assert not torch.equal(plain[0], other[0])
    twins = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    noise = WeightNoise(twins, 1.0)
    for layer in twins:
        nn.init.eye_(layer.weight)  # type: ignore[arg-type]
    noise.draw(0)
    first, second = (layer(torch.eye(4)) for layer in twins)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_product_and_norm_of_a_block_gets_noise(dtype: torch.dtype) -> None:
    """Norms as well where training keeps the residual stream in bf16."""
    x = torch.randn(2, 3, 8).to(dtype)

    def output(disturbed: str | None) -> torch.Tensor:
        torch.manual_seed(0)
        block = Block(8, 2, 16, layer_scale=1.0)
        if disturbed is not None:
            WeightNoise(nn.ModuleList([block.get_submodule(disturbed)]), 0.5).draw(1)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            return block(x)

    plain = output(None)
    for name in ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2"):
        assert not torch.equal(output(name), plain), name


@pytest.mark.parametrize("norm", [nn.BatchNorm2d(4), nn.GroupNorm(2, 4)])
def test_norms_of_convolutional_networks_get_noise(norm: nn.Module) -> None:
    x = torch.randn(2, 4, 3, 3)
    plain = norm(x)
    WeightNoise(nn.Sequential(norm), 0.5).draw(1)
    with torch.no_grad():
        factor = (norm(x) / plain).mean((0, 2, 3))  # biases are 0
    assert (factor - 1).abs().min() > 0.01
    torch.testing.assert_close(norm(x), plain * factor[:, None, None], rtol=1e-4, atol=1e-6)

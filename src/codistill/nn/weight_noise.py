"""Multiplicative noise on the weights of a network in training (DAMP): every forward pass uses w (1 + sigma n).

n is drawn from N(0, 1) for every weight in every forward pass. The gradient is computed at the noisy weights and
applied to w itself. Linear weights, convolution kernels and scales of norms get noise; biases, tokens and embeddings do
not. The noise is a function of a key and the layer's name. A forward pass that is recomputed in the backward pass, or
by a resumed run, therefore uses the same noise. Weights that FSDP2 shards are gathered when a layer runs, so that one
draw covers the whole weight. Source: DAMP (Trinh et al., NeurIPS 2024).
"""

import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from codistill.nn.seeded import mixed

_DISTURBED = (nn.Linear, nn.Conv2d, nn.LayerNorm, nn.GroupNorm, _BatchNorm)


class WeightNoise:
    """Adds the noise to the layers of a module, in place; it is active in training mode once a key is set.

    Args:
        module: the module whose linear, convolutional and norm layers get noise. Copies of it would share the noise.
        sigma: standard deviation of the factor.
    """

    def __init__(self, module: nn.Module, sigma: float) -> None:
        self.sigma = sigma
        self.key: int | None = None
        for name, part in module.named_modules():
            if isinstance(part, _DISTURBED) and isinstance(part.weight, nn.Parameter):
                slot = zlib.crc32(name.encode())
                part.forward = partial(self._disturbed, part, part.forward, slot)  # type: ignore[method-assign]

    def draw(self, *key: int) -> None:
        """Set the key of the following forward passes, such as (seed, step, micro-step, rank)."""
        self.key = mixed(*key)

    def _disturbed(self, part: nn.Module, forward: Callable[..., Tensor], slot: int, *inputs: Any) -> Tensor:
        if self.key is None or not part.training:
            return forward(*inputs)
        weight = part._parameters["weight"]
        assert weight is not None
        generator = torch.Generator(weight.device).manual_seed(mixed(self.key, slot))
        noise = torch.randn(weight.shape, generator=generator, device=weight.device, dtype=weight.dtype)
        part._parameters["weight"] = weight + noise.mul_(weight.detach()).mul_(self.sigma)  # type: ignore[assignment]
        try:
            return forward(*inputs)
        finally:
            part._parameters["weight"] = weight

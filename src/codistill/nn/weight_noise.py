"""Multiplicative noise on the weights of a network in training (DAMP): every forward pass sees w (1 + sigma n).

n is drawn anew for every weight in every forward pass, from N(0, 1). The gradient is that at the noisy weights, and is
applied to w itself. Matrices, kernels and scales of norms are disturbed; biases, tokens and embeddings are not. A draw
is a function of a key and the layer's name, so a pass that is computed again in the backward pass, or by a resumed run,
sees the same noise; weights that FSDP2 shards are whole when a layer runs, and get one noise.
Source: DAMP (Trinh et al., NeurIPS 2024).
"""

import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from codistill.nn.seeded import mixed

_DISTURBED = (nn.Linear, nn.Conv2d, nn.LayerNorm)


class WeightNoise:
    """Noise on the layers of a module, in place; it acts in training mode once a key is set.

    Args:
        module: whose linear, convolutional and LayerNorm layers to disturb. Copies of it would share the noise.
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
        """Set the key of the next forward passes, such as (seed, step, micro-step, rank)."""
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

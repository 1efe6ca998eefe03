"""Pre-norm transformer blocks and their parts, named as in the DINOv2 files.

x = x + ls1(attn(norm1(x)));  x = x + ls2(mlp(norm2(x))).  LayerNorm eps 1e-6 and exact GELU unless stated otherwise.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, layer_norm, silu

from codistill.geometry.full_precision import full_precision
from codistill.nn.attention import CrossAttention, SelfAttention
from codistill.nn.linear import Linear
from codistill.nn.rope import RopeTables

NORM_EPS = 1e-6


def _gelu_tanh(x: Tensor) -> Tensor:
    return gelu(x, approximate="tanh")


def _quick_gelu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": gelu,
    "gelu_tanh": _gelu_tanh,
    "quick_gelu": _quick_gelu,
}
"""Exact GELU, its tanh approximation (SigLIP), and x sigmoid(1.702 x) (OpenAI's CLIP). They are not interchangeable."""


def _trains_in_bf16(x: Tensor) -> bool:
    """Whether the residual stream is in bf16 and gradients are enabled; the stream then stays in bf16.

    Otherwise fp32 factors would promote it to fp32, and every branch would be cast, forward and backward. Without
    gradients that is left to autocast as usual; for fast inference there is `nn/frozen.py`.
    """
    return x.dtype == torch.bfloat16 and torch.is_grad_enabled()


class StreamNorm(nn.LayerNorm):
    """LayerNorm of the residual stream, in the stream's dtype; its sums are computed in fp32."""

    def forward(self, input: Tensor) -> Tensor:
        if not _trains_in_bf16(input):
            return super().forward(input)
        mixed = input.device.type == "cpu"  # only the CPU kernel accepts fp32 factors with bf16 tokens
        weight, bias = (p if mixed else p.to(input.dtype) for p in (self.weight, self.bias))
        with full_precision(input):
            return layer_norm(input, self.normalized_shape, weight, bias, self.eps)


class LayerScale(nn.Module):
    """A learned factor per channel (CaiT)."""

    def __init__(self, dim: int, init: float) -> None:
        super().__init__()
        self.init = init
        self.gamma = nn.Parameter(torch.full((dim,), init))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class DropPath(nn.Module):
    """Stochastic depth: in training, the branch of each sample is dropped with probability `rate`."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0.0:
            return x
        keep = 1.0 - self.rate  # the mask below holds one draw per sample
        mask = torch.empty(x.shape[0], *[1] * (x.ndim - 1), device=x.device, dtype=x.dtype)
        return x * mask.bernoulli_(keep).div_(keep)  # preserves the expectation


class Mlp(nn.Module):
    """Linear, an activation (exact GELU), Linear."""

    def __init__(self, dim: int, hidden: int, out: int | None = None, activation: str = "gelu") -> None:
        super().__init__()
        self.activation = activation
        self.fc1 = Linear(dim, hidden)
        self.fc2 = Linear(hidden, dim if out is None else out)

    def hidden(self, x: Tensor) -> Tensor:
        """Hidden activations, (batch, token, hidden): the input of the second layer."""
        return self.fc1.gelu(x) if self.activation == "gelu" else ACTIVATIONS[self.activation](self.fc1(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.hidden(x))


class SwiGlu(nn.Module):
    """w3(silu(x1) * x2) with [x1, x2] = w12(x) (DINOv2 ViT-g)."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.w12 = Linear(dim, 2 * hidden)
        self.w3 = Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        x1, x2 = self.w12(x).chunk(2, dim=-1)
        return self.w3(silu(x1) * x2)


class Block(nn.Module):
    """A pre-norm self-attention block.

    Args:
        dim, num_heads: width and heads.
        hidden: hidden width of the feed-forward part.
        feed_forward: `gelu` or `swiglu`.
        layer_scale: initial LayerScale value, or None for no LayerScale.
        drop_path: stochastic-depth rate.
        qkv_bias: whether the qkv projection has a bias.
        activation: activation of the `gelu` feed-forward part, a key of `ACTIVATIONS`.
        norm_eps: eps of the LayerNorms.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        hidden: int,
        feed_forward: str = "gelu",
        layer_scale: float | None = None,
        drop_path: float = 0.0,
        qkv_bias: bool = True,
        activation: str = "gelu",
        norm_eps: float = NORM_EPS,
    ) -> None:
        super().__init__()
        self.norm1 = StreamNorm(dim, eps=norm_eps)
        self.attn = SelfAttention(dim, num_heads, qkv_bias)
        self.norm2 = StreamNorm(dim, eps=norm_eps)
        swiglu = feed_forward == "swiglu"
        self.mlp = SwiGlu(dim, hidden) if swiglu else Mlp(dim, hidden, activation=activation)
        self.ls1 = nn.Identity() if layer_scale is None else LayerScale(dim, layer_scale)
        self.ls2 = nn.Identity() if layer_scale is None else LayerScale(dim, layer_scale)
        self.drop_path = DropPath(drop_path) if drop_path > 0.0 else nn.Identity()

    def forward(self, x: Tensor, rope: RopeTables | None = None) -> Tensor:
        """Map (batch, token, channel) to the same shape."""
        x = self._add(x, self.attn(self.norm1(x), rope), self.ls1)
        return self._add(x, self.mlp(self.norm2(x)), self.ls2)

    def attention_map(self, x: Tensor, rope: RopeTables | None = None) -> Tensor:
        """Softmax weights (batch, head, query token, key token), for inspection only."""
        return self.attn.attention_map(self.norm1(x), rope)

    def _add(self, x: Tensor, branch: Tensor, scale: nn.Module) -> Tensor:
        """x + drop_path(scale(branch)); scaling and adding take a single pass where nothing is dropped."""
        if isinstance(scale, LayerScale) and isinstance(self.drop_path, nn.Identity):
            gamma = scale.gamma.to(x.dtype) if _trains_in_bf16(x) else scale.gamma
            return torch.addcmul(x, branch, gamma)
        branch = self.drop_path(scale(branch))
        return x + (branch.to(x.dtype) if _trains_in_bf16(x) else branch)


class DecoderBlock(nn.Module):
    """Self-attention, cross-attention to the other view, feed-forward (names of the CroCo and MASt3R decoders)."""

    def __init__(self, dim: int, num_heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = SelfAttention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.norm_y = nn.LayerNorm(dim, eps=NORM_EPS)
        self.cross_attn = CrossAttention(dim, num_heads)
        self.norm3 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = Mlp(dim, hidden)

    def forward(self, x: Tensor, context: Tensor, rope: RopeTables, context_rope: RopeTables) -> Tensor:
        """Map this view's tokens (batch, token, channel) to the same shape.

        `context` is the other view's tokens, (batch, other token, channel).
        """
        x = x + self.attn(self.norm1(x), rope)
        x = x + self.cross_attn(self.norm2(x), self.norm_y(context), rope, context_rope)
        return x + self.mlp(self.norm3(x))


def init_transformer_weights(module: nn.Module) -> None:
    """Initialize all submodules of a module as DINOv2 does.

    Linear weights are truncated normal with std 0.02, biases zero; LayerNorm has weight 1 and bias 0; LayerScale has
    its initial value.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.trunc_normal_(part.weight, std=0.02)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.LayerNorm):
            nn.init.ones_(part.weight)
            nn.init.zeros_(part.bias)
        elif isinstance(part, LayerScale):
            nn.init.constant_(part.gamma, part.init)

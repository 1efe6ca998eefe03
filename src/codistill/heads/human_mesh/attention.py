"""Layers of the human-mesh head: people of one image attend to each other, then to all tokens of the image.

Takes people (batch, slot, channel) and tokens (batch, token, other channel), returns people. Images have different
numbers of people. Slots without a person are masked, so that no person depends on what else is in the batch.

Pre-norm, eps 1e-5; queries, keys and values without bias; exact GELU. Source: Multi-HMR (arXiv 2402.14654), its HPH.
"""

import torch
from torch import Tensor, nn

from codistill.nn.attend import attention
from codistill.nn.blocks import Mlp


class PeopleAttention(nn.Module):
    """Self-attention over the occupied slots; the channels of all attention heads need not add up to the width."""

    def __init__(self, dim: int, num_heads: int, head_dim: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * num_heads * head_dim, bias=False)
        self.proj = nn.Linear(num_heads * head_dim, dim)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Attend among people (batch, slot, channel); `mask` (batch, 1, slot, slot) is True where this is allowed."""
        query, key, value = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        out = attention(query, key, value, mask=mask)
        return self.proj(out.transpose(1, 2).flatten(2))


class TokenAttention(nn.Module):
    """Attention from people to the tokens of their image, which may have another width."""

    def __init__(self, dim: int, context_dim: int, num_heads: int, head_dim: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q = nn.Linear(dim, num_heads * head_dim, bias=False)
        self.kv = nn.Linear(context_dim, 2 * num_heads * head_dim, bias=False)
        self.proj = nn.Linear(num_heads * head_dim, dim)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Attend from people (batch, slot, channel) to tokens (batch, token, context channel); returns people."""
        query = self.q(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        key, value = self.kv(context).unflatten(-1, (2, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        out = attention(query, key, value)
        return self.proj(out.transpose(1, 2).flatten(2))


class PeopleLayer(nn.Module):
    """Attention among people, attention to tokens, feed-forward."""

    def __init__(self, dim: int, context_dim: int, num_heads: int, head_dim: int, hidden: int) -> None:
        super().__init__()
        self.self_norm = nn.LayerNorm(dim)
        self.self_attention = PeopleAttention(dim, num_heads, head_dim)
        self.cross_norm = nn.LayerNorm(dim)
        self.cross_attention = TokenAttention(dim, context_dim, num_heads, head_dim)
        self.mlp_norm = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, hidden)

    def forward(self, x: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        """Update people (batch, slot, channel)."""
        x = x + self.self_attention(self.self_norm(x), mask)
        x = x + self.cross_attention(self.cross_norm(x), context)
        return x + self.mlp(self.mlp_norm(x))


def slot_mask(occupied: Tensor) -> Tensor:
    """Attention mask (batch, 1, slot, slot) from occupied slots (batch, slot): queries attend to occupied slots only.

    An empty slot attends to itself, so that no softmax is over an empty set; its output is never read.
    """
    itself = torch.eye(occupied.shape[1], dtype=torch.bool, device=occupied.device)
    return (occupied[:, None, :] | itself)[:, None]

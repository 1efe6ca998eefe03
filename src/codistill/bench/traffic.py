"""Bytes that a frozen transformer block moves on a GPU beside its products: a shape in, bytes by kind of operation out.

Norms, casts, activations, rotations and sums take as long as their tensors take to be read and written. They are
counted with fake CUDA tensors, which have shapes and dtypes only, so no GPU is needed; each operation reads its inputs
and writes its outputs once. Products (attention too) are left out, but for the rotation of queries and keys, which as a
product (`bmm`) is bound by memory all the same. Compiled code moves less.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from codistill.nn import attend
from codistill.nn.blocks import Block
from codistill.nn.frozen import FrozenBlock
from codistill.nn.rope import rope_tables, rotations

_PRODUCTS = {"mm", "addmm", "_addmm_activation", "convolution", "_scaled_dot_product_flash_attention"}
_VIEWS = {
    "view", "_unsafe_view", "t", "transpose", "unbind", "expand", "slice", "select", "detach", "permute", "alias",
    "split", "split_with_sizes", "unsqueeze", "squeeze", "as_strided", "_reshape_alias",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class BlockShape:
    """A ViT-L block on a batch, by default as DINOv2's of the published recipes.

    Attributes:
        images, tokens: of the batch; tokens of one image.
        dim, heads: of the block.
        layer_scale: whether it has one.
        rotated: whether queries and keys are rotated (MASt3R).
    """

    images: int = 128
    tokens: int = 581
    dim: int = 1024
    heads: int = 16
    layer_scale: bool = True
    rotated: bool = False


class _Counting(TorchDispatchMode):
    """Bytes read and written by each operation that is neither a product nor a view."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes: Counter[str] = Counter()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name in _PRODUCTS or name in _VIEWS or not isinstance(out, (Tensor, tuple, list)):
            return out
        inputs = [x for x in tree_leaves((args, kwargs or {})) if isinstance(x, Tensor)]
        outputs = [x for x in tree_leaves(out) if isinstance(x, Tensor)]
        if name == "_to_copy":
            name = (
                "cast of a weight"
                if inputs[0].ndim < 3 and inputs[0].shape[0] < 2**14
                else "cast of activations"
            )
        self.bytes[name] += sum(map(_size, (*inputs, *outputs)))
        return out


def _size(x: Tensor) -> int:
    elements = 1
    for length, stride in zip(x.shape, x.stride(), strict=True):
        elements *= length if stride else 1  # an expanded axis is read once
    return elements * x.element_size()


@contextmanager
def _flash_attention() -> Iterator[None]:
    """CUDA's own kernel, which fake tensors do not choose by themselves."""
    before = attend.scaled_dot_product_attention

    def flash(query: Tensor, key: Tensor, value: Tensor, attn_mask: None, scale: float | None) -> Tensor:
        del attn_mask  # blocks have none
        return torch.ops.aten._scaled_dot_product_flash_attention(query, key, value, scale=scale)[0]

    attend.scaled_dot_product_attention = flash  # type: ignore[assignment]
    try:
        yield
    finally:
        attend.scaled_dot_product_attention = before


def block_traffic(shape: BlockShape, *, frozen: bool) -> dict[str, int]:
    """Bytes by operation of one block in bf16, in the steady state of the residual stream.

    Args:
        shape: of block and batch.
        frozen: the folded block; else the network as it is, under autocast.
    """
    bf16 = torch.bfloat16
    with FakeTensorMode(), torch.no_grad(), torch.device("cuda"), _flash_attention():
        block: Any = Block(
            shape.dim, shape.heads, 4 * shape.dim, layer_scale=1.0 if shape.layer_scale else None
        )
        rope = None
        if shape.rotated:
            rope = rope_tables(torch.empty(shape.tokens, 2), shape.dim // shape.heads)
            rope = rotations(rope, bf16) if frozen else rope
        promoted = shape.layer_scale and not frozen  # the factors are fp32, and so the stream
        size = (shape.images, shape.tokens)
        if frozen and shape.rotated:
            size = size[::-1]  # tokens come first
        x = torch.empty(*size, shape.dim, dtype=torch.float32 if promoted else bf16)
        block = FrozenBlock(block, bf16, rotated=shape.rotated) if frozen else block
        with _autocast_of_cuda(not frozen), _Counting() as counting:
            block(x, rope)
    return dict(counting.bytes)


@contextmanager
def _autocast_of_cuda(enabled: bool) -> Iterator[None]:
    """CUDA's rules of autocast; `torch.autocast` refuses them without a GPU."""
    before = torch.is_autocast_enabled("cuda")
    torch.set_autocast_enabled("cuda", enabled)
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    torch.autocast_increment_nesting()
    try:
        yield
    finally:
        if torch.autocast_decrement_nesting() == 0:
            torch.clear_autocast_cache()
        torch.set_autocast_enabled("cuda", before)

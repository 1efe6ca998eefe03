"""Memory traffic of a transformer block on a GPU, without its products: a shape in, bytes by kind of operation out.

Norms, casts, activations, rotations and sums are memory-bound: their time is that of reading and writing their tensors.
They are counted with fake CUDA tensors, which have only shapes and dtypes, so that no GPU is needed. Each operation is
assumed to read its inputs and write its outputs once. Products and attention are left out, except the rotation of
queries and keys, which is memory-bound although it is a product (`bmm`). Compiled code moves fewer bytes.
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
    """Shape of a block and its batch; the default is DINOv2's ViT-L in the published recipes.

    Attributes:
        images, tokens: number of images of the batch, and of tokens per image.
        dim, heads: width and attention heads of the block.
        layer_scale: whether the block has LayerScale.
        rotated: whether queries and keys are rotated (MASt3R).
    """

    images: int = 128
    tokens: int = 581
    dim: int = 1024
    heads: int = 16
    layer_scale: bool = True
    rotated: bool = False


class _Counting(TorchDispatchMode):
    """Counts the bytes read and written by each operation that is neither a product nor a view."""

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
    """Use CUDA's flash attention, which would not be selected for fake tensors."""
    before = attend.scaled_dot_product_attention

    def flash(query: Tensor, key: Tensor, value: Tensor, attn_mask: None, scale: float | None) -> Tensor:
        del attn_mask  # blocks use no mask
        return torch.ops.aten._scaled_dot_product_flash_attention(query, key, value, scale=scale)[0]

    attend.scaled_dot_product_attention = flash  # type: ignore[assignment]
    try:
        yield
    finally:
        attend.scaled_dot_product_attention = before


def block_traffic(shape: BlockShape, *, frozen: bool) -> dict[str, int]:
    """Count the bytes, by operation, of one block in bf16 whose input has the dtype that its output has.

    Args:
        shape: shape of block and batch.
        frozen: count the folded block; otherwise the original network under autocast.
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
        promoted = shape.layer_scale and not frozen  # fp32 factors promote the stream to fp32
        size = (shape.images, shape.tokens)
        if frozen and shape.rotated:
            size = size[::-1]  # tokens are the first axis
        x = torch.empty(*size, shape.dim, dtype=torch.float32 if promoted else bf16)
        block = FrozenBlock(block, bf16, rotated=shape.rotated) if frozen else block
        with _autocast_of_cuda(not frozen), _Counting() as counting:
            block(x, rope)
    return dict(counting.bytes)


@contextmanager
def _autocast_of_cuda(enabled: bool) -> Iterator[None]:
    """Apply CUDA's autocast rules, which `torch.autocast` refuses without a GPU."""
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

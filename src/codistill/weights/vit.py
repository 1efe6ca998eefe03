"""Infer a vision transformer's architecture from its tensors.

In: a `StateDict` under DINOv2's names, with or without chunk indices in the names of blocks. Out: `ViTConfig`, and
tensors under the names of `VisionTransformer`. Facts that are not in the tensors are in `stated`.
"""

import logging
import math
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch

from codistill.errors import CheckpointError, ConfigError
from codistill.nn.vit import VisionTransformer, ViTConfig
from codistill.weights.state import StateDict
from codistill.weights.stated import HEAD_DIM, Stated

LOGGER = logging.getLogger("codistill")
PUBLISHED_WIDTHS = (192, 384, 768, 1024, 1536)
"""Widths of the networks of DUNE, UNIC, MASt3R and Multi-HMR, or their backbones, all with 64 channels per head."""

_BLOCK = re.compile(r"blocks\.(?:(\d{1,6})\.)?(\d{1,6})\.(\D.*)", re.ASCII)


def unchunked(state: StateDict) -> tuple[StateDict, bool]:
    """Rename `blocks.{chunk}.{i}.` to `blocks.{i}.`; also returns whether there were chunks."""
    found = {name: match for name in state.tensors if (match := _BLOCK.fullmatch(name))}
    chunked = {name: match for name, match in found.items() if match[1] is not None}
    if not chunked or len(chunked) != len(found):
        return state, False
    places = sorted({(int(match[1]), int(match[2])) for match in chunked.values()})
    through = len({index for _, index in places}) == len(places)  # else each chunk restarts at 0
    number = {place: place[1] if through else rank for rank, place in enumerate(places)}
    new = {n: f"blocks.{number[int(m[1]), int(m[2])]}.{m[3]}" for n, m in chunked.items()}
    return state.renamed(lambda name: new.get(name, name)), True


def encoder_width(state: StateDict) -> int:
    """Channels of a token, from the patch embedding."""
    return state.tensor("patch_embed.proj.weight", 4).shape[0]


def count_blocks(state: StateDict) -> int:
    """Number of blocks.

    Raises:
        CheckpointError: if there is none, or one in between is missing.
    """
    indices = {int(match[2]) for name in state.tensors if (match := _BLOCK.fullmatch(name)) and not match[1]}
    if not indices:
        raise CheckpointError(f"{state.path}: holds no transformer blocks (names `blocks.0.…`)")
    gaps = sorted(set(range(len(indices))) - indices)
    if gaps:
        raise CheckpointError(
            f"{state.path}: has {len(indices)} blocks, but block {gaps[0]} is missing and the last one is "
            f"{max(indices)}. The file is incomplete: download it again."
        )
    return len(indices)


def count_heads(dim: int, given: int | None, state: StateDict) -> int:
    """Number of attention heads of a network of width `dim`: as given, else one per 64 channels.

    Raises:
        CheckpointError: if neither divides the width.
    """
    if given is not None and (given < 1 or dim % given):
        raise CheckpointError(
            f"{state.path}: {given} heads do not divide the width {dim}. Give another num_heads."
        )
    if given is None and dim % HEAD_DIM:
        raise CheckpointError(
            f"{state.path}: the number of heads is not in the tensors, and the width {dim} is not a multiple of "
            f"{HEAD_DIM}, the channels per head of published networks. Give it: num_heads=… "
            f"(on a command line: {state.path.name},num_heads=…)."
        )
    return given or dim // HEAD_DIM


def infer_config(state: StateDict, stated: Stated, known: Mapping[str, Any]) -> ViTConfig:
    """Infer the architecture of tensors under the names of `VisionTransformer`.

    Args:
        state: the tensors.
        stated: facts from the caller or the file; without a number of heads, there is one per 64 channels.
        known: further fields that are the same for all files of the layout; `stated` overrides them. With `rope_base`,
            positions are rotary; otherwise the file must hold a position embedding.

    Raises:
        CheckpointError: if a tensor that gives a size is missing or of an impossible shape.
    """
    kernel = state.tensor("patch_embed.proj.weight", 4).shape  # (dim, 3, patch, patch)
    dim, patch = kernel[0], kernel[2]
    if kernel != (dim, 3, patch, patch):
        raise CheckpointError(
            f"{state.path}: {state.names['patch_embed.proj.weight']!r} has shape {tuple(kernel)}; "
            "expected (width, 3, patch, patch), the kernel of square patches of RGB images. The file is damaged or has "
            "another layout: look into it with `codistill inspect`."
        )
    depth = count_blocks(state)
    if stated.num_heads is None and dim not in PUBLISHED_WIDTHS and dim % HEAD_DIM == 0:
        LOGGER.warning(
            "%s: its number of heads is unknown; assuming one per %d channels, as in every published network of its "
            "layout. For another number: %s,num_heads=N",
            *(state.path, HEAD_DIM, state.path.name),
        )
    swiglu = state.has("blocks.0.mlp.w12.weight")
    if swiglu:
        hidden = state.tensor("blocks.0.mlp.w3.weight", 2).shape[1]  # (dim, hidden)
    else:
        hidden = state.tensor("blocks.0.mlp.fc1.weight", 2).shape[0]  # (hidden, dim)
    has_cls = state.has("cls_token")
    read: dict[str, Any] = {
        "dim": dim,
        "depth": depth,
        "num_heads": count_heads(dim, stated.num_heads, state),
        "patch_size": patch,
        "num_registers": state.tensor("register_tokens", 3).shape[1] if state.has("register_tokens") else 0,
        "has_cls": has_cls,
        "has_mask_token": state.has("mask_token"),
        "feed_forward": "swiglu" if swiglu else "gelu",
        "hidden": None if hidden == 4 * dim else hidden,
        "position": "rope" if "rope_base" in known else "learned",
    }
    if not state.has("blocks.0.ls1.gamma"):
        read["layer_scale"] = None
    if read["position"] == "learned":
        patches = state.tensor("pos_embed", 3).shape[1] - int(has_cls)  # (1, cls + side * side, dim)
        side = math.isqrt(max(patches, 0))
        if side < 1 or side * side != patches:
            raise CheckpointError(
                f"{state.path}: {state.names['pos_embed']!r} has shape {tuple(state.tensors['pos_embed'].shape)}: "
                f"{patches} patches are no square grid. The file is damaged or has another layout: look into it with "
                "`codistill inspect`."
            )
        read["image_size"] = side * patch
    try:
        return ViTConfig(**{**known, **stated.architecture(), **read})
    except ConfigError as error:
        raise CheckpointError(f"{state.path}: {error}") from error


@lru_cache(maxsize=8)
def expected_shapes(config: ViTConfig) -> dict[str, torch.Size]:
    """Shape of every tensor of `VisionTransformer(config)`, by name; allocates no memory."""
    with torch.device("meta"):
        return {name: tensor.shape for name, tensor in VisionTransformer(config).state_dict().items()}

"""Files with one vision transformer under DINOv2's names: DINOv2, a DUNE encoder alone, Multi-HMR's backbone.

How a positional embedding is resized is not in the tensors. DINOv2 with registers resizes by size with antialiasing;
DINOv2 without registers and every DUNE file (which count blocks in chunks) by a scale factor with offset 0.1.
"""

from argparse import Namespace
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from codistill.nn.vit import ViTConfig
from codistill.weights.contents import EncoderWeights
from codistill.weights.known import DUNE_LICENCE, MULTIHMR_LICENCE, known_stem
from codistill.weights.state import StateDict
from codistill.weights.vit import expected_shapes, infer_config, unchunked

OFFSET_RULE: dict[str, Any] = {"position_offset": 0.1, "position_antialias": False}
ANTIALIAS_RULE: dict[str, Any] = {"position_offset": 0.0, "position_antialias": True}

MULTIHMR_PREFIX = "backbone.encoder."
TEACHER_PREFIX = "backbone."
"""Of the teacher in a DINOv2 training checkpoint."""


def name_and_licence(state: StateDict, released: str = "") -> dict[str, Any]:
    """Name and licence of a file: of the known weights that its name says, else its stem and what is known."""
    known = known_stem(state.path.stem)
    if known is not None:
        return {"name": known.name, "licence": known.licence}
    licence = f"unknown (released ones: {released})" if released else "unknown"
    return {"name": state.path.stem, "licence": licence}


def plain_extra(state: StateDict) -> dict[str, Any]:
    """The checkpoint's numbers, texts and training arguments; optimizers and the like are left out."""
    kept: dict[str, Any] = {}
    for key, value in state.rest.items():
        if isinstance(value, (str, int, float)):
            kept[key] = value
        elif isinstance(value, (Namespace, SimpleNamespace)):
            kept[key] = dict(vars(value))
        elif isinstance(value, Mapping) and key in ("args", "croco_kwargs"):
            kept[key] = dict(value)
    return kept


def check_vit(state: StateDict, config: ViTConfig, chunked: bool = False) -> None:
    """Every tensor of `VisionTransformer(config)` is there and nothing else.

    Raises:
        CheckpointError: naming what is not.
    """
    prefix = next((key.removesuffix(name) for name, key in state.names.items() if key.endswith(name)), "")
    chunk = "blocks.0." if chunked else "blocks."
    state.check(expected_shapes(config), lambda name: prefix + name.replace("blocks.", chunk, 1))


def is_dinov2(state: StateDict) -> bool:
    """Whether these are a DINOv2-family encoder's tensors and nothing else."""
    return state.has("patch_embed.proj.weight", "pos_embed", "norm.weight")


def read_dinov2(state: StateDict, num_heads: int | None) -> EncoderWeights:
    """A DINOv2 file, or the encoder of a DUNE student alone (registers, and blocks in chunks)."""
    state, chunked = unchunked(state)
    registers = state.has("register_tokens")
    dune = chunked and registers
    rule = ANTIALIAS_RULE if registers and not dune else OFFSET_RULE
    config = infer_config(state, num_heads, rule)
    check_vit(state, config, chunked)
    return EncoderWeights(
        config=config,
        tensors=state.tensors,
        layout="DUNE encoder" if dune else "DINOv2",
        extra=plain_extra(state),
        **name_and_licence(state, DUNE_LICENCE if dune else ""),
    )


def is_dinov2_training(state: StateDict) -> bool:
    """Whether this is a checkpoint of DINOv2's own training (its teacher)."""
    return state.has(f"{TEACHER_PREFIX}patch_embed.proj.weight")


def read_dinov2_training(state: StateDict, num_heads: int | None) -> EncoderWeights:
    """The backbone in a DINOv2 training checkpoint; its heads are left out."""
    state, chunked = unchunked(state.under(TEACHER_PREFIX))
    config = infer_config(state, num_heads, ANTIALIAS_RULE if state.has("register_tokens") else OFFSET_RULE)
    check_vit(state, config, chunked)
    return EncoderWeights(
        config=config,
        tensors=state.tensors,
        layout="DINOv2 training",
        extra=plain_extra(state),
        **name_and_licence(state),
    )


def is_multihmr(state: StateDict) -> bool:
    """Whether this is a Multi-HMR model."""
    return state.has(f"{MULTIHMR_PREFIX}patch_embed.proj.weight")


def read_multihmr(state: StateDict, num_heads: int | None) -> EncoderWeights:
    """The DINOv2 backbone inside a Multi-HMR file; its heads are left out."""
    backbone, chunked = unchunked(state.under(MULTIHMR_PREFIX))
    config = infer_config(backbone, num_heads, OFFSET_RULE)
    check_vit(backbone, config, chunked)
    return EncoderWeights(
        config=config,
        tensors=backbone.tensors,
        layout="Multi-HMR",
        extra=plain_extra(state),
        **name_and_licence(state, MULTIHMR_LICENCE),
    )

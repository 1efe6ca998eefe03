"""Layouts with one vision transformer under DINOv2's names: DINOv2, DUNE's encoder alone, Multi-HMR's backbone.

The tensors do not say how the position embedding is resized. DINOv2 with registers resizes by size with antialiasing.
DINOv2 without registers and every DUNE file (with blocks in chunks) resize by a scale factor with offset 0.1.
"""

import logging
from argparse import Namespace
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from codistill.errors import CheckpointError
from codistill.files.hashes import file_sha256
from codistill.nn.vit import ViTConfig
from codistill.weights.contents import EncoderWeights
from codistill.weights.known import DUNE_LICENCE, KNOWN, MULTIHMR_LICENCE, KnownWeights, known_stem
from codistill.weights.metadata import facts_in_metadata
from codistill.weights.state import StateDict
from codistill.weights.stated import HEAD_DIM, Stated, family_of_known, require_facts
from codistill.weights.vit import count_blocks, encoder_width, expected_shapes, infer_config, unchunked

LOGGER = logging.getLogger("codistill")

OFFSET_RULE: dict[str, Any] = {"position_offset": 0.1, "position_antialias": False}
ANTIALIAS_RULE: dict[str, Any] = {"position_offset": 0.0, "position_antialias": True}

MULTIHMR_PREFIX = "backbone.encoder."
TEACHER_PREFIX = "backbone."
"""Prefix of the teacher's tensors in a DINOv2 training checkpoint."""
TRAINING_HEADS = ("dino_head.", "ibot_head.")
"""Prefixes of the heads in a DINOv2 training checkpoint."""


def name_and_licence(
    state: StateDict, released: str = "", known: KnownWeights | None = None
) -> dict[str, Any]:
    """Name and licence of a file: those of the known weights it matches, else its stem and "unknown"."""
    known = known or known_stem(state.path.stem)
    if known is not None:
        return {"name": known.name, "licence": known.licence}
    licence = f"unknown (released ones: {released})" if released else "unknown"
    return {"name": state.path.stem, "licence": licence}


def plain_extra(state: StateDict) -> dict[str, Any]:
    """The checkpoint's numbers, texts and training arguments, without optimizer states and the like."""
    kept: dict[str, Any] = {}
    for key, value in state.rest.items():
        if isinstance(value, (str, int, float)):
            kept[key] = value
        elif isinstance(value, (Namespace, SimpleNamespace)):  # argparse's, in released files
            kept[key] = dict(vars(value))
        elif isinstance(value, Mapping) and key in ("args", "croco_kwargs"):
            kept[key] = dict(value)
    return kept


def check_vit(state: StateDict, config: ViTConfig, chunked: bool = False) -> None:
    """Check that a file has exactly the tensors of `VisionTransformer(config)`.

    Raises:
        CheckpointError: if names or shapes differ; the text lists the differences.
    """
    prefix = next((key.removesuffix(name) for name, key in state.names.items() if key.endswith(name)), "")
    chunk = "blocks.0." if chunked else "blocks."
    state.check(expected_shapes(config), lambda name: prefix + name.replace("blocks.", chunk, 1))


def is_dinov2(state: StateDict) -> bool:
    """Whether a file holds the tensors of a plain vision transformer under DINOv2's names; one may be missing."""
    found = sum(map(state.has, ("patch_embed.proj.weight", "pos_embed", "norm.weight")))
    return found >= 2 and any(name.startswith("blocks.") for name in state.tensors)


def read_dinov2(state: StateDict, stated: Stated) -> EncoderWeights:
    """Read a DINOv2 file, the encoder of a DUNE student (registers, and blocks in chunks), or a file with such names.

    Many networks have these names: DINO, MAE, DeiT, timm's. Facts that are not in the tensors must be stated by the
    caller, be in the file's metadata, or follow from its known name or hash. Two kinds of file are written only by
    DINOv2's code, and are read as its family, with a warning: files with blocks in chunks, and files of a published
    size with LayerScale and mask token (DINOv2 trained further).
    """
    state, chunked = unchunked(state)
    registers = state.has("register_tokens")
    known = known_stem(state.path.stem) or known_by_hash(state)
    stated = stated.over(facts_in_metadata(state))
    if stated.like is None:
        stated = stated.over(Stated(like=_family(state, known, chunked, stated)))
    stated = stated.resolved(encoder_width(state))
    require_facts(state, stated)
    config = infer_config(state, stated, {})
    check_vit(state, config, chunked)
    dune = chunked and registers and stated.like in (None, "dune")  # only DUNE has both
    return EncoderWeights(
        config=config,
        tensors=state.tensors,
        layout="DUNE encoder" if dune else "DINOv2",
        extra=plain_extra(state),
        **stated.normalization(),
        **name_and_licence(state, DUNE_LICENCE if dune else "", known),
    )


def _family(state: StateDict, known: KnownWeights | None, chunked: bool, stated: Stated) -> str | None:
    """The family, from a file's known name or hash, or from tensors that only one family has; None if unknown."""
    if known is not None:
        return _family_of_name(state, known)
    if not chunked and _published_shapes(state) is None:
        return None
    registers = state.has("register_tokens")
    family = ("dune" if chunked else "dinov2_reg") if registers else "dinov2"
    if not stated.given:
        why = "its blocks are in chunks" if chunked else "it has the names and sizes of a DINOv2 file"
        LOGGER.warning(
            "%s: assumed to be a %s encoder, because %s: %d channels per head, ImageNet's mean and std, its rule of "
            "resizing positions. Confirm that, or name another family: %s,like=NAME",
            *(state.path, family, why, HEAD_DIM, state.path.name),
        )
    return family


def _family_of_name(state: StateDict, known: KnownWeights) -> str | None:
    """The family of a known name, which must have registers as the tensors do: positions are resized accordingly."""
    family, found = family_of_known(known), state.has("register_tokens")
    if family in ("dinov2", "dinov2_reg") and found != (family == "dinov2_reg"):
        raise CheckpointError(
            f"{state.path}: is called {known.name}, which has {'no' if found else 'four'} registers, and holds "
            f"{'some' if found else 'none'}. Rename the file, or name its family: {state.path.name},like=NAME"
        )
    return family


def known_by_hash(state: StateDict) -> KnownWeights | None:
    """The known file with the same SHA-256, whatever its name; only files of published shapes are hashed."""
    if _published_shapes(state) is None or not state.path.is_file():
        return None
    hashes = {known.sha256: known for known in KNOWN.values() if known.sha256}
    return hashes.get(file_sha256(state.path))


def _published_shapes(state: StateDict) -> str | None:
    """The DINOv2 size with the file's width, depth, 14-pixel patches, LayerScale and mask token, or None."""
    size = {384: ("small", 12), 768: ("base", 12), 1024: ("large", 24), 1536: ("giant", 40)}.get(
        width := encoder_width(state)
    )
    mask = state.tensors.get("mask_token")
    patch = state.tensors["patch_embed.proj.weight"].shape[-1]
    if size is None or patch != 14 or not state.has("blocks.0.ls1.gamma"):
        return None
    if mask is None or tuple(mask.shape) != (1, width) or count_blocks(state) != size[1]:
        return None
    return size[0]


def is_dinov2_training(state: StateDict) -> bool:
    """Whether a file is a checkpoint of DINOv2's own training (its teacher), or another one with a `backbone.`."""
    return state.has(f"{TEACHER_PREFIX}patch_embed.proj.weight")


def read_dinov2_training(state: StateDict, stated: Stated) -> EncoderWeights:
    """Read the backbone in a DINOv2 training checkpoint; its heads are left out.

    Without DINOv2's heads, the backbone may be any network's with such names, see `read_dinov2`.
    """
    is_training = any(name.startswith(TRAINING_HEADS) for name in state.tensors)
    state = state.under(TEACHER_PREFIX)
    if not is_training:
        return read_dinov2(state, stated)
    state, chunked = unchunked(state)
    stated = stated.resolved(encoder_width(state))
    config = infer_config(state, stated, ANTIALIAS_RULE if state.has("register_tokens") else OFFSET_RULE)
    check_vit(state, config, chunked)
    return EncoderWeights(
        config=config,
        tensors=state.tensors,
        layout="DINOv2 training",
        extra=plain_extra(state),
        **stated.normalization(),
        **name_and_licence(state),
    )


def is_multihmr(state: StateDict) -> bool:
    """Whether a file holds a Multi-HMR model."""
    return state.has(f"{MULTIHMR_PREFIX}patch_embed.proj.weight")


def read_multihmr(state: StateDict, stated: Stated) -> EncoderWeights:
    """Read the DINOv2 backbone in a Multi-HMR file; its heads are left out."""
    backbone, chunked = unchunked(state.under(MULTIHMR_PREFIX))
    stated = stated.resolved(encoder_width(backbone))
    config = infer_config(backbone, stated, OFFSET_RULE)
    check_vit(backbone, config, chunked)
    return EncoderWeights(
        config=config,
        tensors=backbone.tensors,
        layout="Multi-HMR",
        extra=plain_extra(state),
        **stated.normalization(),
        **name_and_licence(state, MULTIHMR_LICENCE),
    )

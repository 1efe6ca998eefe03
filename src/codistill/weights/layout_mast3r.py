"""The encoder inside MASt3R, DUSt3R and CroCo v2 files: RoPE positions, no class token, no LayerScale.

Sizes come from the tensors; heads, image size and the RoPE base from the constructor text in `args.model` (or CroCo's
`croco_kwargs`), which is parsed, never evaluated. The two-view decoder in the same file is not read here.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from codistill.errors import CheckpointError
from codistill.weights.constructor import parse_constructor
from codistill.weights.contents import EncoderWeights
from codistill.weights.known import MAST3R_LICENCE
from codistill.weights.layout_vit import name_and_licence, plain_extra
from codistill.weights.state import StateDict
from codistill.weights.stated import Stated
from codistill.weights.vit import encoder_width, expected_shapes, infer_config

HALF = (0.5, 0.5, 0.5)
PUBLISHED_SIZE = 512


def constructor_arguments(state: StateDict) -> dict[str, Any]:
    """The network's constructor arguments in the file; empty where it has none.

    Raises:
        CheckpointError: if the text cannot be read.
    """
    kwargs = state.rest.get("croco_kwargs")
    if isinstance(kwargs, Mapping):
        return {str(key): value for key, value in kwargs.items()}
    args = state.rest.get("args")
    text = args.get("model") if isinstance(args, Mapping) else getattr(args, "model", None)
    if not isinstance(text, str):
        return {}
    return parse_constructor(text, f"{state.path}: args.model").arguments


def encoder_name(name: str) -> str | None:
    """Translate a tensor's name in the file to that in `VisionTransformer`; None for the decoder and the heads."""
    if name.startswith("patch_embed."):
        return name
    for old, new in (("enc_blocks.", "blocks."), ("enc_norm.", "norm.")):
        if name.startswith(old):
            return new + name.removeprefix(old)
    return None


def file_name(name: str) -> str:
    """Translate a tensor's name in `VisionTransformer` to that in the file: the inverse of `encoder_name`."""
    return re.sub(r"^(blocks|norm)\.", r"enc_\1.", name)


def is_mast3r(state: StateDict) -> bool:
    """Whether a file holds a MASt3R, DUSt3R or CroCo model with its encoder."""
    return state.has("enc_blocks.0.norm1.weight") or state.has("enc_norm.weight", "patch_embed.proj.weight")


def read_mast3r(state: StateDict, stated: Stated) -> EncoderWeights:
    """Read the encoder in a MASt3R, DUSt3R or CroCo v2 file."""
    arguments = constructor_arguments(state)
    position = str(arguments.get("pos_embed", "RoPE100"))
    rope = re.fullmatch(r"RoPE(\d+(?:\.\d+)?)", position)
    if rope is None or state.has("enc_pos_embed"):  # CroCo v1: learned positions
        raise CheckpointError(
            f"{state.path}: its encoder uses the positions {position!r}; only RoPE (e.g. 'RoPE100') is supported. "
            "CroCo v1 files cannot be loaded; CroCo v2, DUSt3R and MASt3R ones can."
        )
    state_vit = state.renamed(encoder_name)
    stated = stated.over(Stated(num_heads=_whole_number(arguments, "enc_num_heads", state)))
    stated = stated.resolved(encoder_width(state_vit))
    config = infer_config(state_vit, stated, {"rope_base": float(rope[1]), "layer_scale": None})
    size = _image_size(arguments.get("img_size", PUBLISHED_SIZE), config.patch_size, state)
    config = replace(config, image_size=size)
    state_vit.check(expected_shapes(config), file_name)
    return EncoderWeights(
        config=config,
        tensors=state_vit.tensors,
        layout="MASt3R",
        extra=plain_extra(state),
        **{"mean": HALF, "std": HALF, **stated.normalization()},
        **name_and_licence(state, MAST3R_LICENCE),
    )


def _whole_number(arguments: Mapping[str, Any], key: str, state: StateDict) -> int | None:
    value = arguments.get(key)
    if value is not None and (not isinstance(value, int) or value < 1):
        raise CheckpointError(f"{state.path}: {key} must be a whole number above 0; the file says {value!r}")
    return value


def _image_size(value: Any, patch: int, state: StateDict) -> int:
    """The larger side, rounded down to a multiple of the patch size."""
    sides = value if isinstance(value, (tuple, list)) else (value,)
    if not sides or not all(isinstance(side, int) and 0 < side < 100_000 for side in sides):
        raise CheckpointError(
            f"{state.path}: img_size must be one or two sides in pixels; the file says {value!r}"
        )
    return max(patch, max(sides) // patch * patch)


def is_two_view_decoder(state: StateDict) -> bool:
    """Whether a file holds DUNE's two-view decoder, whose encoder is in another file."""
    return state.has("mast3r.decoder_embed.weight")


def refuse_two_view_decoder(state: StateDict, stated: Stated) -> EncoderWeights:
    """Raise, because such a file has no encoder; the error names the encoder that it belongs to."""
    encoder = state.rest.get("dune_backbone_name", "a DUNE encoder")
    raise CheckpointError(
        f"{state.path}: holds a two-view decoder for the encoder {encoder!r}, and no encoder. "
        f"Load {encoder!r} as the encoder; this file goes where a two-view head is asked for (--head)."
    )

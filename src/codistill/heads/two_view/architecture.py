"""Infer a `TwoViewConfig` from a released file: sizes from the tensors, modes and heads from the constructor text.

The text (`args.model` or `mast3r_model_str`) has what tensors do not show: the decoder's number of heads, the rotary
base, the confidence modes. If there is no text, the values of the published model are used.
"""

import re
from typing import Any

from codistill.errors import CheckpointError, ConfigError
from codistill.heads.two_view.network import TwoViewConfig
from codistill.heads.two_view.postprocess import ConfidenceMode
from codistill.weights.constructor import Constructor
from codistill.weights.state import StateDict
from codistill.weights.vit import count_heads

_DENSE = "heads.0.dense"


def infer_config(
    ours: StateDict, released: StateDict, text: Constructor | None, *, fresh_norm: bool, num_heads: int | None
) -> TwoViewConfig:
    """Infer the architecture.

    Args:
        ours: tensors under their names in `TwoViewHead`.
        released: the file's tensors, for the encoder's patch size.
        text: the parsed constructor text, if the file has one.
        fresh_norm: whether the layout starts with its own norm (DUNE-MASt3R).
        num_heads: number of heads of the decoder, or None.

    Raises:
        CheckpointError: if a tensor that gives a size is missing, or the text has an unknown option.
    """
    arguments = {} if text is None else text.arguments
    dim, encoder_dim = ours.tensor("embed.weight", 2).shape
    patch_size = released.tensor("patch_embed.proj.weight", 4).shape[-1]
    heads = count_heads(dim, arguments.get("dec_num_heads") if num_heads is None else num_heads, released)
    hidden = ours.tensor("blocks1.0.mlp.fc1.weight", 2).shape[0]
    levels = [ours.tensor(f"{_DENSE}.reassemble.{level}.0.weight", 4).shape[0] for level in range(4)]
    middle_dim, fusion_dim = ours.tensor(f"{_DENSE}.before.weight", 4).shape[:2]
    blocks = {name.split(".")[1] for name in ours.tensors if name.startswith("blocks1.")}
    confidence = _mode(arguments.get("conf_mode", ("exp", 1.0, float("inf"))), released, "conf_mode")
    try:
        return TwoViewConfig(
            encoder_dim=encoder_dim,
            patch_size=patch_size,
            fresh_norm=fresh_norm,
            dim=dim,
            depth=len(blocks),
            num_heads=heads,
            hidden=None if hidden == 4 * dim else hidden,
            rope_base=_rope_base(arguments.get("pos_embed", "RoPE100"), released),
            level_dims=(levels[0], levels[1], levels[2], levels[3]),
            fusion_dim=fusion_dim,
            middle_dim=middle_dim,
            last_dim=ours.tensor(f"{_DENSE}.after.0.weight", 4).shape[0],
            confidence=confidence,
            **_descriptors(ours, released, arguments, patch_size, confidence),
        )
    except ConfigError as error:
        raise CheckpointError(f"{released.path}: {error}") from error


def _descriptors(
    ours: StateDict,
    released: StateDict,
    arguments: dict[str, Any],
    patch_size: int,
    confidence: ConfidenceMode,
) -> dict[str, Any]:
    """The descriptor fields; `descriptor_dim=0` if the file has no descriptor head."""
    _check_depth_mode(arguments, released)
    if not ours.has("heads.0.local.fc2.weight"):
        return {"descriptor_dim": 0}
    decoder_dim, encoder_dim = ours.tensor("embed.weight", 2).shape
    values, hidden = ours.tensor("heads.0.local.fc2.weight", 2).shape
    channels = values // patch_size**2
    named = re.search(r"desc(\d+)", str(arguments.get("output_mode", "pts3d+desc24")))
    dim = int(named[1]) if named else channels - 1
    if channels not in (dim, dim + 1) or channels * patch_size**2 != values:
        raise CheckpointError(
            f"{released.path}: the descriptor head gives {values} values per {patch_size}x{patch_size} patch; "
            f"expected {dim} or {dim + 1} per pixel"
        )
    if "desc_conf_mode" in arguments:
        own = _mode(arguments["desc_conf_mode"], released, "desc_conf_mode")
    else:
        own = confidence if arguments else ConfidenceMode(low=0.0)
    return {
        "descriptor_dim": dim,
        "local_hidden": None if hidden == 4 * (encoder_dim + decoder_dim) else hidden,
        "own_descriptor_confidence": channels == dim + 1,
        "descriptor_confidence": own,
    }


def _mode(value: Any, released: StateDict, name: str) -> ConfidenceMode:
    try:
        kind, low, high = value
        return ConfidenceMode(kind=kind, low=float(low), high=float(high))
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"{released.path}: {name}={value!r} is unknown; expected ('exp', low, high) or ('sigmoid', low, high)"
        ) from error


def _check_depth_mode(arguments: dict[str, Any], released: StateDict) -> None:
    given = arguments.get("depth_mode", ("exp", -float("inf"), float("inf")))
    if tuple(given) != ("exp", -float("inf"), float("inf")):
        raise CheckpointError(
            f"{released.path}: depth_mode={given!r} is not read; expected ('exp', -inf, inf) as in the published "
            "metric models"
        )


def _rope_base(position: str, released: StateDict) -> float:
    match = re.fullmatch(r"RoPE(\d+(?:\.\d+)?)", str(position))
    if match is None:
        raise CheckpointError(
            f"{released.path}: pos_embed={position!r} is not read; expected rotary positions, e.g. 'RoPE100'"
        )
    return float(match[1])

"""Read facts about a network from its file's metadata: a header or training arguments in, `Stated` out.

The sources are the text header of a safetensors file, the plain entries of a checkpoint, and the JSON objects,
dictionaries and argument namespaces one level inside them.
"""

import json
import math
import re
from argparse import Namespace
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

from codistill.errors import CheckpointError
from codistill.nn.blocks import ACTIVATIONS
from codistill.weights.state import StateDict
from codistill.weights.stated import FAMILIES, Stated, family_of

_KEYS = {
    "num_heads": ("num_heads", "num_attention_heads", "heads"),
    "mean": ("mean", "image_mean"),
    "std": ("std", "image_std"),
    "activation": ("activation", "hidden_act"),
    "norm_eps": ("norm_eps", "layer_norm_eps"),
    "position_offset": ("position_offset", "interpolate_offset"),
    "position_antialias": ("position_antialias", "interpolate_antialias"),
    "like": ("like", "family"),
}
"""Names of each fact in metadata: those of codistill, transformers and DINOv2."""

_SPELLED = {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu_fast": "gelu_tanh"}
_ARCHITECTURE = ("arch", "architecture", "model", "model_name", "backbone")
_HEADS = {
    ("tiny", 192): 3,
    ("small", 384): 6,
    ("base", 768): 12,
    ("large", 1024): 16,
    ("so400m", 1152): 16,
    ("huge", 1280): 16,
    ("giant", 1408): 16,
    ("giant2", 1536): 24,
}
"""Attention heads by name and width (An Image is Worth 16x16 Words, table 1; Scaling Vision Transformers; DINOv2)."""


def facts_in_metadata(state: StateDict) -> Stated:
    """Facts in the header and the checkpoint's other entries.

    Raises:
        CheckpointError: for an impossible value.
    """
    said: dict[str, Any] = {}
    for level in _levels([state.header, state.rest]):
        for fact, names in _KEYS.items():
            value = next((level[name] for name in names if name in level), None)
            if fact not in said and value is not None:
                said[fact] = _value(fact, value, state)
    said = {fact: value for fact, value in said.items() if value is not None}
    if "num_heads" not in said and (heads := _heads_by_name(state)):
        said["num_heads"] = heads
    return Stated(**said)


def _levels(starts: list[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield these mappings, and those of their values that are mappings."""
    for start in starts:
        yield start
        for value in start.values():
            inner = value
            if isinstance(value, str) and value.lstrip().startswith("{"):
                try:
                    inner = json.loads(value)
                except (ValueError, RecursionError):
                    continue
            if isinstance(inner, (Namespace, SimpleNamespace)):
                inner = vars(inner)
            if isinstance(inner, Mapping):
                yield inner


def _value(fact: str, value: Any, state: StateDict) -> Any:
    """Parse a fact's value from a number, a text or a list; None if the entry of that name is something else."""
    if isinstance(value, str) and fact not in ("like", "activation"):
        try:
            value = json.loads(value.lower())
        except ValueError:
            return None
    plain: Any = value
    number = isinstance(plain, (int, float)) and not isinstance(plain, bool) and math.isfinite(plain)
    match fact:
        case "num_heads":
            if number and plain == int(plain) and plain > 0:
                return int(plain)
            raise CheckpointError(
                f"{state.path}: its metadata says num_heads {value!r}, no whole number above 0"
            )
        case "mean" | "std":
            if not isinstance(plain, (list, tuple)) or len(plain) != 3:
                return None
            good = all(isinstance(x, (int, float)) and math.isfinite(x) for x in plain)
            return tuple(float(x) for x in plain) if good else None
        case "norm_eps" | "position_offset":
            return float(plain) if number else None
        case "position_antialias":
            return value if isinstance(value, bool) else None
        case "activation":
            return _activation(str(value), state)
        case _:
            name = str(value).lower()
            return name if name in FAMILIES or family_of(name) else None


def _activation(text: str, state: StateDict) -> str | None:
    name = _SPELLED.get(text.lower(), text.lower())
    if "silu" in name or "swiglu" in name:
        return None  # belongs to a gated feed-forward part, which the tensors show
    if name not in ACTIVATIONS:
        raise CheckpointError(
            f"{state.path}: its metadata says activation {text!r}; supported: {', '.join(ACTIVATIONS)}"
        )
    return name


def _heads_by_name(state: StateDict) -> int | None:
    """Attention heads of the architecture named in the metadata, if its width is the tensors'."""
    if not state.has("patch_embed.proj.weight"):
        return None
    width = state.tensors["patch_embed.proj.weight"].shape[0]
    for level in _levels([state.header, state.rest]):
        for key in _ARCHITECTURE:
            text = level.get(key)
            if not isinstance(text, str) or "vit" not in text.lower():
                continue
            for word in re.split(r"[^a-z0-9]+", text.lower()):
                if heads := _HEADS.get((word, width)):
                    return heads
    return None

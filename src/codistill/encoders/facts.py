"""Sizes of an encoder before its weights are read: the text for `load_encoder` in, sizes out, None where unknown.

The sizes come from:

random:SIZE,…          the text itself
timm:NAME, dinov3_…    the network, built without memory for weights
known names            the table of known weights
runs and exports       their JSON
weights files          names and shapes of their tensors
hf:FOLDER              its config.json (for repositories of the hub and registered names nothing is known yet)
"""

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from codistill.encoders.hf_loading import PREFIX as HF
from codistill.encoders.options import split_options, split_precision
from codistill.encoders.published import resolve_published
from codistill.encoders.registry import REGISTERED
from codistill.encoders.seeded import seeded_encoder
from codistill.encoders.timm import timm_encoder
from codistill.encoders.timm_model import PREFIX as TIMM
from codistill.errors import CheckpointError, ConfigError, MissingExtraError
from codistill.files.json_files import read_json
from codistill.types import EncoderSpec
from codistill.weights.architecture import config_from_fields
from codistill.weights.export import CONFIG
from codistill.weights.known import find_known
from codistill.weights.read import file_kind, read_checkpoint
from codistill.weights.run import DESCRIBE
from codistill.weights.shipped import find_shipped

_EMBEDDING = re.compile(r"(?:.*\.)?patch_embed\.proj\.weight")
_POOLED = re.compile(r",summary=(pooled|projected)\b")
_PRETRAINED = re.compile(r",pretrained=\w+")


@dataclass(frozen=True, kw_only=True)
class EncoderFacts:
    """Sizes of an encoder; None for what is unknown.

    Attributes:
        patch_size: pixels per token.
        dim: channels of a patch token.
        has_cls: whether it gives a summary vector of the image (`Tokens.cls`).
        cls_dim: channels of the summary vector.
        pools_patches: whether its summary is pooled from the normed patches alone (`Encoder.pools_patches`).
        only_normed: whether it gives no tokens before its final norm, as with summary=pooled.
    """

    patch_size: int | None = None
    dim: int | None = None
    has_cls: bool | None = None
    cls_dim: int | None = None
    pools_patches: bool | None = None
    only_normed: bool | None = None


NOTHING_KNOWN = EncoderFacts()


def facts_of(text: str) -> EncoderFacts:
    """The known sizes of an encoder, named by a text as for `load_encoder`.

    Raises:
        ConfigError: for a model that timm does not have, or a summary that the model does not have.
    """
    text, _ = split_precision(os.path.expandvars(text))
    if text in REGISTERED:
        return NOTHING_KNOWN
    path = Path(text).expanduser()
    if path.exists():
        return _of_path(path)
    text = resolve_published(text)
    if text.startswith(TIMM):
        return _of_timm(text)
    if text.startswith("random:"):
        with torch.device("meta"):
            return _of_spec(seeded_encoder(text).spec)
    if text.startswith(HF):
        return _of_hf(text)
    try:
        name, _ = split_options(text)
    except ConfigError:
        return NOTHING_KNOWN  # the error is reported when the encoder is loaded
    path = find_shipped(name) or Path(name).expanduser()
    if path.exists():
        return _of_path(path)
    known = find_known(name)
    if known is None:
        return NOTHING_KNOWN
    return EncoderFacts(patch_size=known.patch_size, pools_patches=False, only_normed=False)


def _of_spec(spec: EncoderSpec) -> EncoderFacts:
    width = (spec.cls_dim or spec.dim) if spec.has_cls else None
    return EncoderFacts(
        patch_size=spec.patch_size,
        dim=spec.dim,
        has_cls=spec.has_cls,
        cls_dim=width,
        pools_patches=False,
        only_normed=False,
    )


def _of_timm(text: str) -> EncoderFacts:
    try:
        with torch.device("meta"):
            encoder = timm_encoder(f"{_PRETRAINED.sub('', text)},pretrained=false")
    except (MissingExtraError, CheckpointError, NotImplementedError):
        return NOTHING_KNOWN  # the error is reported when the encoder is loaded
    return replace(
        _of_spec(encoder.spec), pools_patches=encoder.pools_patches, only_normed=bool(_POOLED.search(text))
    )


def _of_hf(text: str) -> EncoderFacts:
    config = Path(text.removeprefix(HF).partition(",")[0]).expanduser() / "config.json"
    plain: dict[str, Any] = read_json(config) if config.is_file() else {}
    inner = plain.get("vision_config") if isinstance(plain.get("vision_config"), dict) else plain
    patch = inner.get("patch_size") if isinstance(inner, dict) else None
    return EncoderFacts(
        patch_size=patch if isinstance(patch, int) else None, only_normed=bool(_POOLED.search(text))
    )


def _of_path(path: Path) -> EncoderFacts:
    """Sizes of the encoder in a run, a checkpoint of a run, an export, or a weights file."""
    for file, entry in (
        (path / DESCRIBE, "encoder"),
        (path.parent.parent / DESCRIBE, "encoder"),
        (path / CONFIG, "architecture"),
    ):
        said = _read(file).get(entry)
        if isinstance(said, dict):
            config = config_from_fields(said, str(file))
            width = config.dim if config.has_cls else None
            return EncoderFacts(
                patch_size=config.patch_size, dim=config.dim, has_cls=config.has_cls, cls_dim=width
            )
    if path.is_dir() or path.suffix.lower() == ".onnx":
        return NOTHING_KNOWN
    return _of_file(path)


def _read(file: Path) -> dict[str, Any]:
    try:
        return dict(read_json(file)) if file.is_file() else {}
    except CheckpointError:
        return {}


def _of_file(path: Path) -> EncoderFacts:
    """Sizes from the patch embedding in a memory-mapped file; files of the old torch format are not read."""
    try:
        if file_kind(path) == "torch legacy":
            return NOTHING_KNOWN
        content: Any = read_checkpoint(path)
    except CheckpointError:
        return NOTHING_KNOWN  # the error is reported when the encoder is loaded
    for _ in range(2):  # the file is a state dict, or has one as an entry
        kernels = {
            tuple(tensor.shape)
            for name, tensor in content.items()
            if isinstance(tensor, torch.Tensor) and _EMBEDDING.fullmatch(str(name)) and tensor.ndim == 4
        }
        if len(kernels) == 1:
            dim, _, rows, columns = kernels.pop()
            return EncoderFacts(patch_size=rows if rows == columns else None, dim=dim)
        content = next((value for value in content.values() if isinstance(value, dict)), {})
    return NOTHING_KNOWN

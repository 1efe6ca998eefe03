"""One function for every kind of encoder: the user's text in, an `Encoder` in evaluation mode out.

    load_encoder("dune_vitbase_14_448.pth")        a released file: DUNE, UNIC, DINOv2, MASt3R, DUSt3R, Multi-HMR
    load_encoder("runs/first")                     a run of ours, or one of its checkpoints
    load_encoder("exports/first")                  an export folder
    load_encoder("dinov2_vitl14_reg")              known weights, found on this machine or fetched
    load_encoder("timm:resnet50,pretrained=false") a timm model                   (extra `timm`)
    load_encoder("hf:facebook/dinov2-small")       a transformers model           (extra `hf`)
    load_encoder("random:vit_tiny")                seeded random weights
    load_encoder("mine")                           a name given to register_encoder, or added by an installed package

Options follow after commas: `file.pt,like=dinov2,num_heads=3`, `dinov2_vits14,image_size=448`,
`hf:ORG/NAME,summary=pooled`, `dinov2_vitl14,register_neurons=FILE.json`. A loaded encoder is frozen, unless
`train=True`.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from codistill.encoders.base import Encoder
from codistill.encoders.hf import hf_encoder
from codistill.encoders.options import FILE_OPTIONS, PARSERS, as_options, split_options, stated_of
from codistill.encoders.registry import REGISTERED, Factory, encoder_names, find_factory
from codistill.encoders.seeded import seeded_encoder
from codistill.encoders.test_time_register import RegisterAtTestTime, RegisterNeurons
from codistill.encoders.timm import timm_encoder
from codistill.encoders.vit import ViTEncoder
from codistill.errors import ConfigError, unknown_name
from codistill.weights.cache import SUFFIXES, find_weights
from codistill.weights.contents import EncoderWeights
from codistill.weights.known import KNOWN, find_known
from codistill.weights.layouts import read_encoder_weights
from codistill.weights.stated import Stated

LOGGER = logging.getLogger("codistill")
KINDS: dict[str, Callable[..., Encoder]] = {
    "timm:": timm_encoder,
    "hf:": hf_encoder,
    "random:": seeded_encoder,
}
"""Kinds of encoder by prefix; each function takes the whole text, and options as keywords."""

REGISTER = "register_neurons"
"""Option of files and known names: a register at test time, see `encoders/test_time_register.py`."""
_TOLD: set[str] = set()


def load_encoder(
    what: str | Path | Encoder,
    *,
    num_heads: int | None = None,
    image_size: int | None = None,
    like: str | None = None,
    mean: Sequence[float] | str | None = None,
    std: Sequence[float] | str | None = None,
    activation: str | None = None,
    norm_eps: float | None = None,
    position_offset: float | None = None,
    position_antialias: bool | None = None,
    summary: str | None = None,
    train: bool = False,
) -> Encoder:
    """An encoder in evaluation mode, frozen, on the CPU, in fp32; see the module's text for what may be given.

    Args:
        what: a path, a known or registered name, or `timm:…`, `hf:…`, `random:…`. An `Encoder` comes back as it is.
        num_heads: attention heads, if not in the weights file.
        image_size: the new native size: a learned positional embedding is resized once.
        like: a family or known name, for facts missing in a weights file, see `weights.stated.FAMILIES`.
        mean, std: the normalization that the network was trained with, if missing or wrong in the file or the model's
            metadata: three numbers, `imagenet`, or `none` for pixels in [0, 1].
        activation, norm_eps, position_offset, position_antialias: as in `ViTConfig`, for weights files.
        summary: the vector of a `timm:` or `hf:` model for `Tokens.cls`, see `encoders.summary`.
        train: parameters require gradients. Otherwise the encoder is frozen and keeps nothing for a backward pass
            (unless the images require gradients).

    Raises:
        CheckpointError: for files that are missing, damaged, of an unknown layout, or without facts that the features
            depend on.
        ConfigError: for an unknown name or option; the text lists the known ones.
        MissingExtraError: if `timm:` or `hf:` is not installed.
    """
    if isinstance(what, Encoder):
        return what
    given = as_options(
        PARSERS,
        num_heads=num_heads,
        image_size=image_size,
        like=like,
        mean=mean,
        std=std,
        activation=activation,
        norm_eps=norm_eps,
        position_offset=position_offset,
        position_antialias=position_antialias,
        summary=summary,
    )
    encoder = _load(str(what), given)
    return encoder.eval().requires_grad_(train)


def _load(text: str, given: dict[str, Any]) -> Encoder:
    """An encoder of any kind; options given as arguments override those in the text."""
    for prefix, load in KINDS.items():
        if text.startswith(prefix):
            return load(text, **given)
    whole = bool(text) and (text in REGISTERED or Path(text).expanduser().exists())
    text, options = (text, {}) if whole else split_options(text, (*FILE_OPTIONS, REGISTER))
    options |= given
    there = text not in REGISTERED and Path(text).expanduser().exists()  # before packages' encoders
    factory = None if there else find_factory(text)
    if factory is not None:
        _refuse_options(text, options)
        return _registered(text, factory)
    if "summary" in options:
        raise ConfigError(f"summary cannot be given for {text}: it belongs to timm: and hf: models")
    neurons = RegisterNeurons.load(options[REGISTER]) if REGISTER in options else None
    weights = _read(text, stated_of(options))
    if (size := options.get("image_size")) is not None:
        weights = weights.at_image_size(size)
    _tell_licence(weights)
    encoder = encoder_from_weights(weights)
    return encoder if neurons is None else RegisterAtTestTime(encoder, neurons)


def encoder_from_weights(weights: EncoderWeights) -> ViTEncoder:
    """The network of checked weights, in evaluation mode and fp32; it shares no memory with them."""
    with torch.device("meta"):
        encoder = ViTEncoder(
            weights.config,
            name=weights.name,
            licence=weights.licence,
            mean=tuple(weights.mean),
            std=tuple(weights.std),
        )
    owned = {name: tensor.to(torch.float32, copy=True) for name, tensor in weights.tensors.items()}
    encoder.load_state_dict(owned, assign=True)
    return encoder.eval()


def _read(text: str, stated: Stated) -> EncoderWeights:
    """Weights of an existing path, or of known weights by name."""
    if not text.strip():
        raise ConfigError("no encoder was named: give a file, a folder or a name")
    path = Path(text).expanduser()
    known = find_known(text)
    if path.exists() or known is None:
        if not path.exists() and not _looks_like_path(text):
            names = [*KNOWN, *encoder_names()]
            raise ConfigError(
                f"{unknown_name('encoder', text, names)} Other kinds: a file or folder (there is none called "
                f"{text!r} here), {', '.join(f'{prefix}…' for prefix in KINDS)}."
            )
        return read_encoder_weights(path, stated=stated)
    if known.content == "two-view decoder":
        raise ConfigError(
            f"{known.name} is a two-view decoder, not an encoder: give it where a head is asked for (--head)"
        )
    weights = read_encoder_weights(find_weights(text), stated=stated)
    return replace(weights, name=known.name, licence=known.licence)


def _looks_like_path(text: str) -> bool:
    return "/" in text or "\\" in text or text.startswith(("~", ".")) or Path(text).suffix.lower() in SUFFIXES


def _registered(name: str, factory: Factory) -> Encoder:
    encoder = factory()
    if not isinstance(encoder, Encoder) or not hasattr(encoder, "spec"):
        raise ConfigError(
            f"the factory registered as {name!r} gave a {type(encoder).__name__}, expected an Encoder with a spec. "
            "Wrap a module or a function: FunctionEncoder(spec, module)."
        )
    return encoder.eval()


def _refuse_options(what: str, options: Mapping[str, Any]) -> None:
    if options:
        given = ", ".join(f"{key}={value}" for key, value in options.items())
        raise ConfigError(f"{given} cannot be given for {what}: its sizes are its own")


def _tell_licence(weights: EncoderWeights) -> None:
    """Log the licence of the weights once per process; as a warning where it restricts their use."""
    known = find_known(weights.name)
    if weights.name in _TOLD or weights.licence.startswith("unknown"):
        return
    _TOLD.add(weights.name)
    level = logging.WARNING if known is not None and not known.commercial else logging.INFO
    where = f", see {known.homepage}" if known else ""
    LOGGER.log(level, "%s: licence %s%s", weights.name, weights.licence, where)

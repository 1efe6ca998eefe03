"""One function for every kind of encoder: what the user typed in, an `Encoder` in evaluation mode out.

    load_encoder("dune_vitbase_14_448.pth")        a released file: DUNE, UNIC, DINOv2, MASt3R, DUSt3R, Multi-HMR
    load_encoder("runs/first")                     a run of ours, or one of its checkpoints
    load_encoder("exports/first")                  an export folder
    load_encoder("dinov2_vitl14_reg")              known weights, found on this machine or fetched
    load_encoder("timm:resnet50,pretrained=false") a timm model                   (extra `timm`)
    load_encoder("hf:facebook/dinov2-small")       a transformers model           (extra `hf`)
    load_encoder("random:vit_tiny")                seeded random weights
    load_encoder("mine")                           a name given to register_encoder

Options follow after commas: `file.pt,num_heads=3`, `dinov2_vits14,image_size=448`.
"""

import logging
from dataclasses import replace
from pathlib import Path

import torch

from codistill.encoders.base import Encoder
from codistill.encoders.hf import hf_encoder
from codistill.encoders.registry import REGISTERED
from codistill.encoders.seeded import seeded_encoder
from codistill.encoders.timm import timm_encoder
from codistill.encoders.vit import ViTEncoder
from codistill.errors import ConfigError, unknown_name
from codistill.weights.cache import SUFFIXES, find_weights
from codistill.weights.contents import EncoderWeights
from codistill.weights.known import KNOWN, find_known
from codistill.weights.layouts import read_encoder_weights

LOGGER = logging.getLogger("codistill")
OPTIONS = ("num_heads", "image_size")
KINDS = {"timm:": timm_encoder, "hf:": hf_encoder, "random:": seeded_encoder}
"""Kinds of encoder by prefix; each function takes the whole text."""

_TOLD: set[str] = set()


def load_encoder(
    what: str | Path | Encoder, *, num_heads: int | None = None, image_size: int | None = None
) -> Encoder:
    """An encoder in evaluation mode, on the CPU, in fp32; see the module's text for what may be given.

    Args:
        what: a path, a known or registered name, or `timm:…`, `hf:…`, `random:…`. An `Encoder` comes back as it is.
        num_heads: attention heads, for files that do not say and are not 64 channels wide per head.
        image_size: make this the native size: a learned positional embedding is resized once.

    Raises:
        CheckpointError: for files that are missing, damaged or of an unknown layout.
        ConfigError: for an unknown name or option; the text lists the known ones.
        MissingExtraError: if `timm:` or `hf:` is not installed.
    """
    if isinstance(what, Encoder):
        return what
    text = str(what)
    for prefix, load in KINDS.items():
        if text.startswith(prefix):
            _refuse_options(prefix, num_heads=num_heads, image_size=image_size)
            return load(text).eval()
    text, options = (text, {}) if text and Path(text).expanduser().exists() else split_options(text)
    num_heads = options.get("num_heads", num_heads)
    image_size = options.get("image_size", image_size)
    if text in REGISTERED:
        _refuse_options(text, num_heads=num_heads, image_size=image_size)
        return _registered(text)
    weights = _read(text, num_heads)
    if image_size is not None:
        weights = weights.at_image_size(image_size)
    _tell_licence(weights)
    return encoder_from_weights(weights)


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


def split_options(text: str) -> tuple[str, dict[str, int]]:
    """`file.pt,num_heads=3` as the path and its options.

    Raises:
        ConfigError: for an unknown option or a value that is no whole number above 0.
    """
    options: dict[str, int] = {}
    while "=" in (part := text.rpartition(",")[2]) and "," in text:
        key, _, value = part.partition("=")
        if options and Path(text).expanduser().exists():
            break
        if key not in OPTIONS:
            raise ConfigError(unknown_name(f"option in {text!r}:", key, OPTIONS))
        if not value.isdecimal() or int(value) < 1:
            raise ConfigError(f"option {key} in {text!r} must be a whole number above 0; got {value!r}")
        options[key] = int(value)
        text = text.rpartition(",")[0]
    return text, options


def _read(text: str, num_heads: int | None) -> EncoderWeights:
    """Weights of an existing path, or of known weights by name."""
    if not text.strip():
        raise ConfigError("no encoder was named: give a file, a folder or a name")
    path = Path(text).expanduser()
    known = find_known(text)
    if path.exists() or known is None:
        if not path.exists() and not _looks_like_path(text):
            names = [*KNOWN, *REGISTERED]
            raise ConfigError(
                f"{unknown_name('encoder', text, names)} Other kinds: a file or folder (there is none called "
                f"{text!r} here), {', '.join(f'{prefix}…' for prefix in KINDS)}."
            )
        return read_encoder_weights(path, num_heads=num_heads)
    if known.content == "two-view decoder":
        raise ConfigError(
            f"{known.name} is a two-view decoder, not an encoder: give it where a head is asked for (--head)"
        )
    weights = read_encoder_weights(find_weights(text), num_heads=num_heads)
    return replace(weights, name=known.name, licence=known.licence)


def _looks_like_path(text: str) -> bool:
    return "/" in text or "\\" in text or text.startswith(("~", ".")) or Path(text).suffix.lower() in SUFFIXES


def _registered(name: str) -> Encoder:
    encoder = REGISTERED[name]()
    if not isinstance(encoder, Encoder) or not hasattr(encoder, "spec"):
        raise ConfigError(
            f"the factory registered as {name!r} gave a {type(encoder).__name__}, expected an Encoder with a spec. "
            "Wrap a module or a function: FunctionEncoder(spec, module)."
        )
    return encoder.eval()


def _refuse_options(what: str, **options: int | None) -> None:
    given = [f"{key}={value}" for key, value in options.items() if value is not None]
    if given:
        raise ConfigError(f"{', '.join(given)} cannot be given for {what}: its sizes are its own")


def _tell_licence(weights: EncoderWeights) -> None:
    """Say once per process under which licence the weights are; louder where it restricts their use."""
    known = find_known(weights.name)
    if weights.name in _TOLD or weights.licence.startswith("unknown"):
        return
    _TOLD.add(weights.name)
    level = logging.WARNING if known is not None and not known.commercial else logging.INFO
    where = f", see {known.homepage}" if known else ""
    LOGGER.log(level, "%s: licence %s%s", weights.name, weights.licence, where)

"""Load any kind of encoder from a text: a path, a name or a prefixed name in, an `Encoder` in evaluation mode out.

    load_encoder("dune_vitbase_14_448.pth")        a released file: DUNE, UNIC, DINOv2, MASt3R, DUSt3R, Multi-HMR
    load_encoder("runs/first")                     a run of codistill, or one of its checkpoints
    load_encoder("exports/first")                  an export folder
    load_encoder("dinov2_vitl14_reg")              known weights, found on this machine or downloaded
    load_encoder("dinov3_vitb16")                  other published encoders by name         (extra `timm`)
    load_encoder("dune-tiny")                      a model that ships with the library
    load_encoder("timm:resnet50,pretrained=false") a timm model                   (extra `timm`)
    load_encoder("hf:facebook/dinov2-small")       a transformers model           (extra `hf`)
    load_encoder("random:vit_tiny")                seeded random weights
    load_encoder("dinov2.onnx")                    an encoder of `codistill export`  (extra `onnx`)
    load_encoder("mine")                           a name passed to register_encoder, or added by an installed package

Options follow after commas: `file.pt,like=dinov2,num_heads=3`, `dinov2_vits14,image_size=448,window=16`,
`hf:ORG/NAME,summary=pooled`, `dinov2_vitl14,register_neurons=FILE.json`. The option `precision=bf16` loads one of
codistill's own vision transformers in that precision (`encoders/precision.py`). A loaded encoder is frozen, unless
`train=True`.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from codistill.encoders.base import Encoder
from codistill.encoders.changed import changed
from codistill.encoders.frozen import FrozenViTEncoder
from codistill.encoders.hf import hf_encoder
from codistill.encoders.known_size import check_size
from codistill.encoders.network import NetworkEncoder, network_of_config
from codistill.encoders.onnx import SUFFIX as ONNX
from codistill.encoders.onnx import OnnxEncoder, onnx_encoder
from codistill.encoders.options import (
    FILE_OPTIONS,
    PARSERS,
    as_options,
    split_options,
    split_precision,
    stated_of,
)
from codistill.encoders.precision import check_precision, in_precision
from codistill.encoders.published import PUBLISHED, find_published, resolve_published
from codistill.encoders.registry import REGISTERED, Factory, encoder_names, find_factory
from codistill.encoders.seeded import seeded_encoder
from codistill.encoders.test_time_register import RegisterAtTestTime, RegisterNeurons
from codistill.encoders.timm import timm_encoder
from codistill.encoders.vit import ViTEncoder
from codistill.errors import CheckpointError, ConfigError, unknown_name
from codistill.nn.network import NetworkConfig
from codistill.weights.cache import SUFFIXES, find_weights
from codistill.weights.contents import EncoderWeights
from codistill.weights.known import KNOWN, find_known
from codistill.weights.layouts import read_encoder_weights
from codistill.weights.shipped import find_shipped, shipped_models
from codistill.weights.stated import Stated

LOGGER = logging.getLogger("codistill")
KINDS: dict[str, Callable[..., Encoder]] = {
    "timm:": timm_encoder,
    "hf:": hf_encoder,
    "random:": seeded_encoder,
}
"""Kinds of encoder by prefix; each function takes the whole text, and further options as keywords."""

REGISTER = "register_neurons"
"""Option of files and known names that adds a register at test time, see `encoders/test_time_register.py`."""
_TOLD: set[str] = set()


def load_encoder(
    what: str | Path | Encoder,
    *,
    num_heads: int | None = None,
    image_size: int | None = None,
    window: int | None = None,
    num_global: int | None = None,
    like: str | None = None,
    mean: Sequence[float] | str | None = None,
    std: Sequence[float] | str | None = None,
    activation: str | None = None,
    norm_eps: float | None = None,
    position_offset: float | None = None,
    position_antialias: bool | None = None,
    summary: str | None = None,
    precision: str | None = None,
    device: str | torch.device | None = None,
    train: bool = False,
) -> Encoder:
    """Load an encoder in evaluation mode; it is frozen unless `train`. See the module docstring for what can be loaded.

    Args:
        what: a path, a known or registered name, or `timm:…`, `hf:…`, `random:…`. An `Encoder` is returned as it is,
            or as precision, device and train=True say; it takes no other options.
        num_heads: number of attention heads, if the weights file does not say it.
        image_size: a new native size, to which a learned position embedding is resized once.
        window, num_global: windowed attention for large images, see `nn/windows.py`: tokens per side of a window, and
            number of blocks that see the whole image (4).
        like: a family or known name whose facts replace those missing in a weights file, see
            `weights.stated.FAMILIES`.
        mean, std: the normalization that the network was trained with, if missing or wrong in the file or the model's
            metadata: three numbers, `imagenet`, or `none` for pixels in [0, 1].
        activation, norm_eps, position_offset, position_antialias: as in `ViTConfig`, for weights files.
        summary: which vector of a `timm:` or `hf:` model becomes `Tokens.cls`, see `encoders.summary`.
        precision: `exact` or None (the network as it was trained, in fp32), `auto`, `fp32` or `bf16`, see
            `encoders/precision.py`. It is part of the encoder's fingerprint.
        device: device of the encoder. None: the CPU, or for an `Encoder` its own.
        train: parameters require gradients. Otherwise the encoder is frozen and stores no activations for a backward
            pass (unless the images require gradients).

    Raises:
        CheckpointError: for files that are missing, damaged, of an unknown layout, or that lack facts on which the
            features depend.
        ConfigError: for an unknown name or option (the text lists the known ones), or a precision that the encoder
            cannot have.
        MissingExtraError: if `timm:`, `hf:` or onnxruntime is not installed.
    """
    given = as_options(
        PARSERS,
        num_heads=num_heads,
        image_size=image_size,
        window=window,
        num_global=num_global,
        like=like,
        mean=mean,
        std=std,
        activation=activation,
        norm_eps=norm_eps,
        position_offset=position_offset,
        position_antialias=position_antialias,
        summary=summary,
    )
    if isinstance(what, Encoder):
        return _changed(what, given, precision, device, train)
    text, said = split_precision(str(what))
    wanted = check_precision(precision or said or "exact")
    if train and wanted != "exact":
        raise ConfigError(f"train=True needs precision=exact: an encoder in {wanted} has no gradients")
    encoder = _load(text, given)
    if train and isinstance(encoder, OnnxEncoder):
        raise ConfigError(f"{what}: an exported encoder has no gradient; train what it was exported from")
    encoder = encoder.eval().requires_grad_(train)
    return in_precision(encoder, wanted, device or "cpu").to(device or "cpu")


def _changed(
    encoder: Encoder,
    given: Mapping[str, Any],
    precision: str | None,
    device: str | torch.device | None,
    train: bool,
) -> Encoder:
    """An encoder that exists already, in a precision and on a device."""
    _refuse_options(encoder.spec.name, given)
    wanted, name = check_precision(precision or "exact"), encoder.spec.name
    if train and (wanted != "exact" or isinstance(encoder, (FrozenViTEncoder, OnnxEncoder))):
        raise ConfigError(f"train=True needs an encoder with gradients: load {name} without a precision")
    found = in_precision(encoder, wanted, device or "cpu")
    found = found.requires_grad_(True) if train else found
    return found if device is None else found.to(device)


def _load(text: str, given: dict[str, Any]) -> Encoder:
    """Load an encoder of any kind; options given as arguments override those in the text."""
    name = text.partition(",")[0]
    if (
        name
        and name not in REGISTERED
        and not Path(name).expanduser().exists()
        and find_shipped(name) is None
    ):
        text = resolve_published(text)
    for prefix, load in KINDS.items():
        if text.startswith(prefix):
            encoder = load(text, **given)
            if (published := find_published(text)) is not None and not encoder.spec.licence.startswith(
                "none"
            ):
                _tell_licence(published.name, encoder.spec.licence, published.commercial, published.homepage)
            return encoder
    whole = bool(text) and (text in REGISTERED or Path(text).expanduser().exists())
    text, options = (text, {}) if whole else split_options(text, (*FILE_OPTIONS, REGISTER))
    options |= given
    there = text not in REGISTERED and Path(text).expanduser().exists()  # paths precede packages
    factory = None if there else find_factory(text)
    if factory is not None:
        _refuse_options(text, options)
        return _registered(text, factory)
    if text.lower().endswith(ONNX):
        return onnx_encoder(text, **options)
    if "summary" in options:
        raise ConfigError(f"summary cannot be given for {text}: it belongs to timm: and hf: models")
    neurons = RegisterNeurons.load(options[REGISTER]) if REGISTER in options else None
    weights = _read(text, stated_of(options))
    weights = changed(weights, options)
    if not weights.licence.startswith("unknown"):
        known = find_known(weights.name)
        free, homepage = (known.commercial, known.homepage) if known else (True, "")
        _tell_licence(weights.name, weights.licence, free, homepage)
    encoder = encoder_from_weights(weights)
    if neurons is None:
        return encoder
    if not isinstance(encoder, ViTEncoder):
        raise ConfigError(f"{REGISTER} cannot be given for {text}: it is no vision transformer")
    return RegisterAtTestTime(encoder, neurons)


def encoder_from_weights(weights: EncoderWeights) -> ViTEncoder | NetworkEncoder:
    """Build the network for weights, in evaluation mode and fp32; it shares no memory with them.

    Raises:
        CheckpointError: if a network of timm has other tensors. Those of vision transformers were checked when read.
    """
    about: dict[str, Any] = {
        "name": weights.name,
        "licence": weights.licence,
        "mean": tuple(weights.mean),
        "std": tuple(weights.std),
    }
    owned = {
        name: tensor.to(torch.float32 if tensor.is_floating_point() else tensor.dtype, copy=True)
        for name, tensor in weights.tensors.items()
    }
    if isinstance(weights.config, NetworkConfig):
        network = network_of_config(weights.config, **about)
        try:
            network.load_state_dict(owned)
        except RuntimeError as error:
            raise CheckpointError(
                f"{weights.name}: its tensors are not those of timm's {weights.config.model} "
                f"({' '.join(str(error).split())[:300]}). Another version of timm may have written them."
            ) from error
        return network.eval()
    with torch.device("meta"):
        encoder = ViTEncoder(weights.config, **about)
    encoder.load_state_dict(owned, assign=True)
    return encoder.eval()


def vit_from_weights(weights: EncoderWeights) -> ViTEncoder:
    """As `encoder_from_weights`, for the weights of a vision transformer."""
    encoder = encoder_from_weights(weights)
    assert isinstance(encoder, ViTEncoder)
    return encoder


def _read(text: str, stated: Stated) -> EncoderWeights:
    """Read weights from an existing path, or known weights by name."""
    if not text.strip():
        raise ConfigError("no encoder was named: give a file, a folder or a name")
    path = Path(text).expanduser()
    if not path.exists() and (shipped := find_shipped(text)) is not None:
        path = shipped
    known = find_known(text)
    if path.exists() or known is None:
        if not path.exists() and not _looks_like_path(text):
            names = [*shipped_models(), *KNOWN, *PUBLISHED, *encoder_names()]
            raise ConfigError(
                f"{unknown_name('encoder', text, names)} Other kinds: a file or folder (there is none called "
                f"{text!r} here), {', '.join(f'{prefix}…' for prefix in KINDS)}."
            )
        return read_encoder_weights(path, stated=stated)
    if known.content == "two-view decoder":
        raise ConfigError(
            f"{known.name} is a two-view decoder, not an encoder: give it where a head is asked for (--head)"
        )
    file = find_weights(text)
    weights = read_encoder_weights(file, stated=stated)
    check_size(weights, known, file)
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


def _tell_licence(name: str, licence: str, commercial: bool, homepage: str) -> None:
    """Log the licence of weights once per process; as a warning where it does not allow commercial use."""
    if name in _TOLD:
        return
    _TOLD.add(name)
    level = logging.INFO if commercial else logging.WARNING
    LOGGER.log(level, "%s: licence %s%s", name, licence, f", see {homepage}" if homepage else "")

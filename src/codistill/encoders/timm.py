"""`timm:NAME[,pretrained=false]`: any timm model as an encoder (extra `timm`).

Vision transformers give their class and register tokens and intermediate blocks, at any image size where the model
allows it; other networks give the last feature map, whose stride becomes the patch size. Normalization, size and
licence come from timm's own metadata.
"""

import difflib
import inspect
import math
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from codistill.encoders.base import Encoder
from codistill.errors import CheckpointError, ConfigError, MissingExtraError
from codistill.types import EncoderSpec, Tokens
from codistill.weights.cache import is_offline

PREFIX = "timm:"


class TimmEncoder(Encoder):
    """What both kinds of timm encoder share."""

    def architecture(self) -> dict[str, Any]:
        """Also timm's name of the model, without the tag of its weights."""
        name = self.spec.name.removeprefix(PREFIX)
        return {**super().architecture(), "model": name.partition(".")[0]}


class TimmViT(TimmEncoder):
    """A timm vision transformer: patches, and whatever precedes them.

    Args:
        model: with `forward_intermediates(return_prefix_tokens=…)`.
        about: name, licence, normalization and native size, for the spec.
    """

    def __init__(self, model: nn.Module, about: dict[str, Any]) -> None:
        super().__init__()
        has_cls = getattr(model, "cls_token", None) is not None
        patch = _square(model.patch_embed.patch_size, about["name"])  # type: ignore[union-attr]
        self.model = model
        self.spec = EncoderSpec(
            **about,
            dim=int(model.embed_dim),  # type: ignore[arg-type]
            patch_size=patch,
            depth=len(model.blocks),  # type: ignore[arg-type]
            has_cls=has_cls,
            num_registers=int(model.num_prefix_tokens) - int(has_cls),  # type: ignore[arg-type]
        )

    def encode(self, images: Tensor, norm: bool = True) -> Tokens:
        """Tokens after the last block."""
        return self.encode_blocks(images, [self.spec.depth - 1], norm)[0]

    def encode_blocks(self, images: Tensor, blocks: Sequence[int], norm: bool = True) -> list[Tokens]:
        """Tokens after chosen blocks, in the order given.

        Raises:
            ConfigError: if the model does not take images of this size.
            ValueError: for a block that it does not have.
        """
        depth = self.spec.depth
        wrong = [block for block in blocks if not -depth <= block < depth]
        if wrong:
            raise ValueError(f"blocks {wrong} do not exist: {self.spec.name} has {depth} (0 to {depth - 1})")
        wanted = [block % depth for block in blocks]
        order = sorted(set(wanted))
        try:
            found = self.model.forward_intermediates(  # type: ignore[operator]
                images,
                indices=order,
                norm=norm,
                stop_early=True,
                output_fmt="NLC",
                intermediates_only=True,
                return_prefix_tokens=True,
            )
        except AssertionError as error:
            raise _wrong_size(self.spec, images, error) from error
        grid = (images.shape[-2] // self.spec.patch_size, images.shape[-1] // self.spec.patch_size)
        by_block = dict(zip(order, found, strict=True))
        return [self._tokens(*_pair(by_block[block]), grid, norm) for block in wanted]

    def _tokens(self, patches: Tensor, prefix: Tensor | None, grid: tuple[int, int], norm: bool) -> Tokens:
        first = int(self.spec.has_cls)
        return Tokens(
            patches=patches,
            grid=grid,
            cls=prefix[:, 0] if prefix is not None and first else None,
            registers=prefix[:, first:] if prefix is not None and self.spec.num_registers else None,
            normed=norm,
        )


class TimmMap(TimmEncoder):
    """Any other timm network: its last feature map as patches, its stride as the patch size."""

    def __init__(self, model: nn.Module, about: dict[str, Any]) -> None:
        super().__init__()
        self.model = model.eval()
        side = about["image_size"]
        with torch.no_grad():
            shape = tuple(model.forward_features(torch.zeros(1, 3, side, side)).shape)  # type: ignore[operator]
        self.channels_last = len(shape) == 4 and shape[1] == shape[2] != shape[3]
        if len(shape) == 4:
            dim, rows = (shape[3], shape[1]) if self.channels_last else (shape[1], shape[2])
        else:
            dim, rows = shape[-1], math.isqrt(shape[1])
        if len(shape) not in (3, 4) or side % rows or (len(shape) == 3 and rows * rows != shape[1]):
            raise ConfigError(
                f"{about['name']}: gives features of shape {shape} for a {side}x{side} image, which are no map. "
                "Wrap it by hand: codistill.register_encoder with FunctionEncoder."
            )
        self.spec = EncoderSpec(**about, dim=dim, patch_size=side // rows, has_cls=False)

    def encode(self, images: Tensor, norm: bool = True) -> Tokens:
        """The last feature map as tokens; norm=False gives the same, for there is no separate norm.

        Raises:
            ConfigError: if the model does not take images of this size.
        """
        try:
            features: Tensor = self.model.forward_features(images)  # type: ignore[operator]
        except AssertionError as error:
            raise _wrong_size(self.spec, images, error) from error
        patch = self.spec.patch_size
        grid = (images.shape[-2] // patch, images.shape[-1] // patch)
        if features.ndim == 4:
            features = features.flatten(1, 2) if self.channels_last else features.flatten(2).transpose(1, 2)
        return Tokens(patches=features, grid=grid, normed=norm)


def timm_encoder(text: str) -> TimmViT | TimmMap:
    """The encoder of `timm:NAME[,pretrained=false]`.

    Raises:
        MissingExtraError: if timm is not installed.
        ConfigError: for an unknown model or option.
        CheckpointError: if its weights cannot be had.
    """
    name, pretrained = _parse(text)
    model = _create(_import_timm(name), name, pretrained).eval()
    metadata: dict[str, Any] = getattr(model, "pretrained_cfg", {})
    about = {
        "name": f"{PREFIX}{name}",
        "mean": tuple(metadata.get("mean", (0.5,) * 3)),
        "std": tuple(metadata.get("std", (0.5,) * 3)),
        "image_size": int(metadata.get("input_size", (3, 224, 224))[-1]),
        "licence": str(metadata.get("license") or "unknown") if pretrained else "none (random weights)",
    }
    forward = getattr(model, "forward_intermediates", None)
    is_vit = forward is not None and "return_prefix_tokens" in inspect.signature(forward).parameters
    return TimmViT(model, about) if is_vit else TimmMap(model, about)


def _parse(text: str) -> tuple[str, bool]:
    name, *options = text.removeprefix(PREFIX).split(",")
    pretrained = True
    for option in options:
        key, _, value = option.partition("=")
        if key != "pretrained" or value.lower() not in ("true", "false"):
            raise ConfigError(
                f"option {option!r} in {text!r} is unknown; allowed: pretrained=true, pretrained=false"
            )
        pretrained = value.lower() == "true"
    return name, pretrained


def _import_timm(name: str) -> ModuleType:
    try:
        import timm
    except ImportError as error:
        raise MissingExtraError("timm", "timm", f"timm:{name}") from error
    return timm


def _create(timm: ModuleType, name: str, pretrained: bool) -> nn.Module:
    """The model without classifier, at any image size if it can."""
    if not timm.is_model(name.partition(".")[0]) and not name.startswith(
        ("hf-hub:", "hf_hub:", "local-dir:")
    ):
        near = difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise ConfigError(f"Unknown timm model {name!r}.{hint} timm.list_models('*vit*') lists them.")
    if pretrained and is_offline():
        _go_offline()
    options: dict[str, Any] = {"pretrained": pretrained, "num_classes": 0}
    try:
        try:
            return timm.create_model(name, dynamic_img_size=True, **options)
        except TypeError as error:
            if "dynamic_img_size" not in str(error):
                raise
            return timm.create_model(name, **options)
    except (OSError, RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"timm:{name}: its weights cannot be had ({str(error).splitlines()[0][:200]}). Check the network and the "
            f"name, or use random weights: timm:{name},pretrained=false"
        ) from error


def _go_offline() -> None:
    """Keep the hub client, which timm uses, off the network: it then looks into its own cache only."""
    from huggingface_hub import constants

    constants.HF_HUB_OFFLINE = True


def _square(patch: int | tuple[int, int], name: str) -> int:
    sides = {patch} if isinstance(patch, int) else set(patch)
    if len(sides) != 1:
        raise ConfigError(f"{name}: patches of {patch} pixels are not square, which is not supported")
    return int(sides.pop())


def _pair(found: Tensor | tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor | None]:
    """Patches and prefix tokens; timm leaves the prefix out where the model has none."""
    return (found, None) if isinstance(found, Tensor) else (found[0], found[1])


def _wrong_size(spec: EncoderSpec, images: Tensor, error: AssertionError) -> ConfigError:
    height, width = images.shape[-2:]
    return ConfigError(
        f"{spec.name} does not take images of {height}x{width} ({error}). Resize them to "
        f"{spec.image_size}x{spec.image_size}, its native size, or choose a model of flexible size."
    )

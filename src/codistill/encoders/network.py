"""A convolutional or hybrid network of timm as a student's encoder (EUPE's ConvNeXts, arXiv 2603.22387).

The cells of its last feature map are the patches, and the map's mean is the class token.

`timm:NAME` starts from random weights, `timm:NAME,pretrained=true` from timm's. Tokens are the same with and without
norm, because such networks have no final norm that acts on each token by itself. Layers behind the last map (pools,
norms, classifiers) stay in the files and are not trained. Running statistics of batch norms are buffers: they are
saved, resumed and averaged like the weights.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from codistill.encoders.hub import HubEncoder
from codistill.encoders.options import split_options
from codistill.encoders.timm import create_model, is_transformer, network_licence, normalization
from codistill.encoders.timm_model import PREFIX, TimmMap
from codistill.errors import CheckpointError, ConfigError
from codistill.nn.network import NetworkConfig
from codistill.types import IMAGENET_MEAN, IMAGENET_STD, EncoderSpec, Tokens

OPTIONS = ("pretrained",)


class NetworkEncoder(HubEncoder, TimmMap):
    """A trainable network of timm, see the module docstring.

    Args:
        config: its name and sizes.
        model: the timm model of that name, without classifier.
        name, licence: name and licence of the weights.
        mean, std: the normalization that it was or will be trained with.

    Raises:
        ConfigError: if the model's sizes are not those of `config`.
    """

    def __init__(
        self,
        config: NetworkConfig,
        model: nn.Module,
        *,
        name: str = "network",
        licence: str = "unknown",
        mean: tuple[float, ...] = IMAGENET_MEAN,
        std: tuple[float, ...] = IMAGENET_STD,
    ) -> None:
        about = {"name": name, "licence": licence, "mean": mean, "std": std, "image_size": config.image_size}
        TimmMap.__init__(self, model, about)
        found = {"dim": self.spec.dim, "patch_size": self.spec.patch_size}
        said = {"dim": config.dim, "patch_size": config.patch_size}
        if found != said:
            raise ConfigError(
                f"{PREFIX}{config.model} gives {found['dim']} channels and has {found['patch_size']} pixels per token; "
                f"{said['dim']} and {said['patch_size']} were expected. Another version of timm may call another "
                "network so."
            )
        self.config = config
        self.spec = replace(self.spec, has_cls=True, depth=config.depth)

    def encode(self, images: Tensor, norm: bool = True) -> Tokens:
        """Tokens of the last map: its cells are the patches, their mean is the class token.

        Raises:
            ConfigError: if the network does not take images of this size.
        """
        tokens = super().encode(images, norm)
        return replace(tokens, cls=tokens.patches.mean(1))

    def encode_blocks(self, images: Tensor, blocks: Sequence[int], norm: bool = True) -> list[Tokens]:
        """The tokens of the last map, which count as block 0 or -1; the network has no other blocks.

        Raises:
            ValueError: for another block.
        """
        wrong = [block for block in blocks if block not in (0, -1)]
        if wrong:
            raise ValueError(f"blocks {wrong} do not exist: {self.spec.name} gives its last map alone (0)")
        tokens = self.encode(images, norm)
        return [tokens for _ in blocks]

    def train(self, mode: bool = True) -> "NetworkEncoder":
        """Set the mode; a frozen network stays in evaluation mode, so that batches do not change its statistics."""
        return super().train(mode and any(p.requires_grad for p in self.parameters()))

    def architecture(self) -> dict[str, Any]:
        """Adds the network's name in timm."""
        return {**super().architecture(), "model": self.config.model}

    def unused_parameters(self) -> list[str]:
        """Names of parameters on which the tokens do not depend."""
        named = dict(self.named_parameters())
        side = self.config.image_size
        with torch.enable_grad():
            patches = self.encode(
                torch.zeros(1, 3, side, side, device=next(iter(named.values())).device)
            ).patches
            grads = torch.autograd.grad(patches.sum(), list(named.values()), allow_unused=True)
        return [name for name, grad in zip(named, grads, strict=True) if grad is None]


def running_statistics(module: nn.Module) -> list[Tensor]:
    """Running means and variances of a module's batch norms."""
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm)]
    return [kept for part in norms for kept in (part.running_mean, part.running_var) if kept is not None]


def fresh_network(text: str, image_size: int, drop_path: float = 0.0) -> NetworkEncoder:
    """Build the encoder of `timm:NAME[,pretrained=true]`, to be trained at an image size.

    Raises:
        ConfigError: for another kind of name, a vision transformer, or a network without a last feature map.
        CheckpointError: if pretrained weights cannot be loaded.
        MissingExtraError: if timm is not installed.
    """
    name, pretrained = network_name(text)
    model = _model(name, pretrained, drop_path)
    about = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    if pretrained:
        about |= {key: normalization(name, model, {})[key] for key in about}
    licence = network_licence(model) if pretrained else "unknown"
    trial = TimmMap(model, {**about, "name": text, "image_size": image_size, "licence": licence}).spec
    config = NetworkConfig(model=name, dim=trial.dim, patch_size=trial.patch_size, image_size=image_size)
    return NetworkEncoder(config, model, name=text, licence=licence, **about)  # type: ignore[arg-type]


def network_of_config(config: NetworkConfig, **about: Any) -> NetworkEncoder:
    """Build the network of a configuration with random weights; `about` has arguments of `NetworkEncoder`."""
    return NetworkEncoder(config, _model(config.model, False), **about)


def network_stride(text: str) -> int:
    """Pixels per token of `timm:NAME`, found without loading weights."""
    return network_spec(text).patch_size


def network_spec(text: str) -> EncoderSpec:
    """Sizes of `timm:NAME`, found without loading weights."""
    name, _ = network_name(text)
    about = {"name": text, "image_size": 224, "licence": "", "mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    try:
        with torch.device("meta"):
            return TimmMap(_model(name, False), about).spec
    except CheckpointError:  # some networks compute with tensors while they are built
        return TimmMap(_model(name, False), about).spec


def network_name(text: str) -> tuple[str, bool]:
    """Split `timm:NAME[,pretrained=true]` into timm's name and whether its weights are wanted.

    Raises:
        ConfigError: for another kind of name.
    """
    if not text.startswith(PREFIX):
        raise ConfigError(
            f"student.network must be timm:NAME, a convolutional or hybrid network of timm; got {text!r}. Vision "
            "transformers are sizes: --student.size vit_small"
        )
    name, options = split_options(text.removeprefix(PREFIX), OPTIONS)
    return name, bool(options.get("pretrained", False))


def _model(name: str, pretrained: bool, drop_path: float = 0.0) -> nn.Module:
    model = create_model(name, pretrained, **({"drop_path_rate": drop_path} if drop_path else {}))
    if is_transformer(model):
        raise ConfigError(
            f"{PREFIX}{name} is a vision transformer: those are students by --student.size, --student.dim …; "
            "student.network is for networks with feature maps"
        )
    return model

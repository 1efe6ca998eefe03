"""DINOv2's and timm's methods and attributes for every encoder, so that existing heads can call it.

    get_intermediate_layers                                         as in DINOv2
    forward_features, forward_intermediates, feature_info           as in timm
    embed_dim, num_features, patch_size                             as in both

Images are ImageNet-normalized, and the encoder converts them to its own normalization. A pipeline made for DINOv2
therefore works unchanged.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from codistill.errors import ConfigError
from codistill.types import EncoderSpec, Tokens


class FamiliarNames:
    """Mixin of `Encoder` with DINOv2's and timm's names; see the module docstring."""

    spec: EncoderSpec

    @property
    def embed_dim(self) -> int:
        """Channels of a token."""
        return self.spec.dim

    @property
    def num_features(self) -> int:
        """Channels of a token."""
        return self.spec.dim

    @property
    def patch_size(self) -> int:
        """Pixels per token along each axis."""
        return self.spec.patch_size

    @property
    def feature_info(self) -> list[dict[str, Any]]:
        """Name, channels and pixels per token of each block, in timm's format."""
        one = {"num_chs": self.spec.dim, "reduction": self.spec.patch_size}
        return [{"module": f"blocks.{block}", **one} for block in range(self.spec.depth)]

    def forward_features(self, images: Tensor) -> Tensor:
        """All tokens after the final norm, (batch, token, channel): class token, registers, patches."""
        return _sequence(cast(Any, self)(images))

    def forward_intermediates(
        self,
        images: Tensor,
        indices: int | Sequence[int] | None = None,
        return_prefix_tokens: bool = False,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> Any:
        """Outputs of chosen blocks, with timm's interface.

        Args:
            images: ImageNet-normalized, (batch, 3, row, column).
            indices: the blocks, negative ones counted from the end; a number n: the last n blocks; None: all blocks.
            return_prefix_tokens: return each output as a pair with its class and register tokens, (batch, token,
                channel).
            norm: apply the final norm to the outputs.
            stop_early: accepted as in timm; with `intermediates_only`, blocks after the last chosen one never run.
            output_fmt: `NCHW`, maps (batch, channel, row, column), or `NLC`, sequences (batch, patch, channel).
            intermediates_only: leave the final tokens out.

        Returns:
            The final tokens after the norm, (batch, token, channel), and the list of outputs; or the list alone.

        Raises:
            ConfigError: for another format, or blocks of an encoder without any.
        """
        if output_fmt not in ("NCHW", "NLC"):
            raise ConfigError(f"output_fmt must be NCHW or NLC; got {output_fmt!r}")
        if stop_early and not intermediates_only:
            raise ConfigError(
                "stop_early needs intermediates_only=True: the final tokens come after all blocks"
            )
        encoder: Any = self
        blocks = self._chosen(indices)
        levels: list[Tokens] = encoder.intermediate(images, blocks, norm=norm)
        found = [_map(level) if output_fmt == "NCHW" else level.patches for level in levels]
        pairs = [(part, _prefix(level)) for part, level in zip(found, levels, strict=True)]
        result = pairs if return_prefix_tokens else found
        return result if intermediates_only else (self.forward_features(images), result)

    def get_intermediate_layers(
        self,
        images: Tensor,
        n: int | Sequence[int] = 1,
        reshape: bool = False,
        return_class_token: bool = False,
        norm: bool = True,
    ) -> tuple[Any, ...]:
        """Outputs of chosen blocks, with DINOv2's interface.

        Args:
            images: ImageNet-normalized, (batch, 3, row, column).
            n: the blocks, or the number of last blocks.
            reshape: return maps (batch, channel, row, column) instead of sequences (batch, patch, channel).
            return_class_token: return each output as a pair with its class token, (batch, channel).
            norm: apply the final norm.

        Raises:
            ConfigError: for a class token of an encoder without one.
        """
        if return_class_token and not self.spec.has_cls:
            raise ConfigError(f"{self.spec.name} has no class token: leave out return_class_token")
        encoder: Any = self
        levels: list[Tokens] = encoder.intermediate(images, self._chosen(n), norm=norm)
        parts = [_map(level) if reshape else level.patches for level in levels]
        if not return_class_token:
            return tuple(parts)
        return tuple((part, level.cls) for part, level in zip(parts, levels, strict=True))

    def _chosen(self, indices: int | Sequence[int] | None) -> list[int]:
        """The chosen blocks, 0-based: in increasing order for a count, else in the order given."""
        depth = self.spec.depth
        if isinstance(indices, int) and not 1 <= indices <= depth:
            raise ConfigError(f"{self.spec.name} has {depth} blocks; the last {indices} were asked for")
        if indices is None:
            return list(range(depth))
        return list(range(depth - indices, depth)) if isinstance(indices, int) else list(indices)


def _map(tokens: Tokens) -> Tensor:
    return tokens.feature_map().contiguous()


def _prefix(tokens: Tokens) -> Tensor:
    """Class token and registers, (batch, token, channel); zero tokens where the encoder has neither."""
    parts = [tokens.cls[:, None]] if tokens.cls is not None else []
    parts += [tokens.registers] if tokens.registers is not None else []
    return torch.cat(parts, dim=1) if parts else tokens.patches[:, :0]


def _sequence(tokens: Tokens) -> Tensor:
    return torch.cat((_prefix(tokens), tokens.patches), dim=1)

"""timm models as encoders: vision transformers with their tokens and blocks, other networks with their last map."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from codistill.encoders.base import Encoder, normed_by
from codistill.encoders.summary import no_summary
from codistill.errors import ConfigError
from codistill.types import EncoderSpec, Tokens

PREFIX = "timm:"
SMALL = (64, 96)
"""Rows and columns of the first trial image for networks that give maps; most have a stride of 32."""
RAISED = (RuntimeError, ValueError, TypeError, AssertionError, LookupError, AttributeError, ArithmeticError)
"""Exceptions that models raise for images that they do not accept."""


class TimmEncoder(Encoder):
    """Common base of both kinds of timm encoder."""

    model: nn.Module
    summary: str | None

    def architecture(self) -> dict[str, Any]:
        """Adds the model's name in timm, without the tag of its weights, and the summary."""
        name = self.spec.name.removeprefix(PREFIX)
        more = {} if self.summary is None else {"summary": self.summary}
        return {**super().architecture(), "model": name.partition(".")[0], **more}

    def encode_blocks(self, images: Tensor, blocks: Sequence[int], norm: bool = True) -> list[Tokens]:
        """Raises NotImplementedError: networks that give maps have no numbered blocks."""
        return super().encode_blocks(images, blocks, norm)

    def _own_size(self, images: Tensor, call: Callable[[], Any]) -> Any:
        """The result of `call`; an error at a size other than the native one is explained to the user."""
        try:
            return call()
        except RAISED as error:
            native = self.spec.image_size
            if images.shape[-2:] == (native, native) or isinstance(error, torch.OutOfMemoryError):
                raise
            raise _wrong_size(self.spec, images, str(error)) from error

    def _pooled(self, features: Tensor) -> Tensor:
        return self.model.forward_head(features, pre_logits=True).flatten(1)  # type: ignore[operator]


class TimmViT(TimmEncoder):
    """A timm vision transformer, with its patches, class token and registers.

    Args:
        model: a model with `forward_intermediates(return_prefix_tokens=…)`.
        about: name, licence, normalization and native size, for the spec.
        summary: None or `cls` for the class token, `pooled` for the model's own pooling.
    """

    def __init__(self, model: nn.Module, about: dict[str, Any], summary: str | None = None) -> None:
        super().__init__()
        embed: Any = getattr(model, "patch_embed", None) or getattr(model, "embeds", None)
        has_cls = any(getattr(part, "cls_token", None) is not None for part in (model, embed))
        # Hybrid networks have `feat_ratio`.
        ratio = embed.feat_ratio() if hasattr(embed, "feat_ratio") else embed.patch_size
        patch = _square(ratio, about["name"])
        self.model, self.summary, self._has_cls = model.eval(), summary, has_cls
        if summary == "cls" and not has_cls:
            raise no_summary(summary, about["name"], "it has no class token")
        self.spec = EncoderSpec(
            **about,
            dim=int(model.embed_dim),  # type: ignore[arg-type]
            patch_size=patch,
            depth=len(model.blocks),  # type: ignore[arg-type]
            has_cls=has_cls or summary == "pooled",
            num_registers=int(model.num_prefix_tokens) - int(has_cls),  # type: ignore[arg-type]
        )
        if summary == "pooled":
            prefix = int(model.num_prefix_tokens)  # type: ignore[arg-type]
            with torch.no_grad():
                width, wider = (
                    self._pooled(torch.zeros(1, count + prefix, self.spec.dim)).shape[1] for count in (4, 9)
                )
            if width != wider:  # the width grows with the tokens: they are concatenated
                raise no_summary(summary, about["name"], "it has no pooling of its own")
            self.spec = replace(self.spec, cls_dim=None if width == self.spec.dim else width)

    def encode(self, images: Tensor, norm: bool = True) -> Tokens:
        """Tokens after the last block.

        Raises:
            ConfigError: if the model does not take images of this size; for norm=False with a pooled summary.
        """
        if self.summary != "pooled":
            return self.encode_blocks(images, [self.spec.depth - 1], norm)[0]
        if not norm:
            raise ConfigError(
                f"{self.spec.name}: summary=pooled comes after the final norm; ask for norm=True, or load it without "
                "summary="
            )
        features = self._own_size(images, lambda: self.model.forward_features(images))  # type: ignore[operator]
        prefix = int(self.model.num_prefix_tokens)  # type: ignore[arg-type]
        tokens = self._tokens(features[:, prefix:], features[:, :prefix], self._grid(images), norm)
        return replace(tokens, cls=self._pooled(features))

    def encode_blocks(self, images: Tensor, blocks: Sequence[int], norm: bool = True) -> list[Tokens]:
        """Tokens after chosen blocks, in the order given.

        Raises:
            ConfigError: if the model does not take images of this size, or has a pooled summary.
            ValueError: for a block that it does not have.
        """
        depth = self.spec.depth
        wrong = [block for block in blocks if not -depth <= block < depth]
        if wrong:
            raise ValueError(f"blocks {wrong} do not exist: {self.spec.name} has {depth} (0 to {depth - 1})")
        if self.summary == "pooled":
            raise ConfigError(
                f"{self.spec.name}: single blocks have no summary=pooled; load it without summary="
            )
        wanted = [block % depth for block in blocks]
        order = sorted(set(wanted))
        found = self._own_size(
            images,
            lambda: self.model.forward_intermediates(  # type: ignore[operator]
                images,
                indices=order,
                norm=norm,
                stop_early=True,
                output_fmt="NLC",
                intermediates_only=True,
                return_prefix_tokens=True,
            ),
        )
        by_block = dict(zip(order, found, strict=True))
        grid = self._grid(images)
        if any(len(_pair(pair)[0][0]) != grid[0] * grid[1] for pair in found):
            raise _wrong_size(self.spec, images, f"its tokens are no grid of {grid[0]}x{grid[1]}")
        return [self._tokens(*_pair(by_block[block]), grid, norm) for block in wanted]

    def apply_norm(self, tokens: Tokens) -> Tokens:
        """Apply the model's `norm`, which timm also applies to intermediate tokens."""
        norm = getattr(self.model, "norm", None)
        if not isinstance(norm, nn.Module):
            return super().apply_norm(tokens)
        return normed_by(norm, tokens)

    @property
    def pools_patches(self) -> bool:
        """Whether the summary is pooled from patches only, without class or register tokens."""
        return self.summary == "pooled" and int(self.model.num_prefix_tokens) == 0  # type: ignore[arg-type]

    def pool(self, patches: Tensor, grid: tuple[int, int]) -> Tensor:
        """Summary vector by timm's own pooling.

        Raises:
            NotImplementedError: if the summary is not pooled from patches only.
        """
        return self._pooled(patches) if self.pools_patches else super().pool(patches, grid)

    def _grid(self, images: Tensor) -> tuple[int, int]:
        return images.shape[-2] // self.spec.patch_size, images.shape[-1] // self.spec.patch_size

    def _tokens(self, patches: Tensor, prefix: Tensor | None, grid: tuple[int, int], norm: bool) -> Tokens:
        first = int(self._has_cls)
        return Tokens(
            patches=patches,
            grid=grid,
            cls=prefix[:, 0] if prefix is not None and first else None,
            registers=prefix[:, first:] if prefix is not None and self.spec.num_registers else None,
            normed=norm,
        )


class TimmMap(TimmEncoder):
    """Any other timm network: its last feature map as patches, its stride as the patch size."""

    def __init__(self, model: nn.Module, about: dict[str, Any], summary: str | None = None) -> None:
        super().__init__()
        self.model, self.summary = model.eval(), summary
        if summary == "cls":
            raise no_summary(summary, about["name"], "it has no class token")
        with torch.no_grad():
            features, size = self._first_look(about)
            stride, self.channels_last = _stride(features, size, about["name"])
            dim = features.shape[1] if features.ndim == 4 and not self.channels_last else features.shape[-1]
            width = self._pooled(features).shape[1] if summary == "pooled" else dim
        self.spec = EncoderSpec(
            **about,
            dim=dim,
            patch_size=stride,
            has_cls=summary == "pooled",
            cls_dim=None if width == dim else width,
        )

    def encode(self, images: Tensor, norm: bool = True) -> Tokens:
        """The last feature map as tokens; norm=False gives the same, because there is no separate norm.

        Raises:
            ConfigError: if the model does not take images of this size.
        """
        features: Tensor = self._own_size(images, lambda: self.model.forward_features(images))  # type: ignore[operator]
        patch = self.spec.patch_size
        grid = (images.shape[-2] // patch, images.shape[-1] // patch)
        cls = self._pooled(features) if self.summary == "pooled" else None
        if features.ndim == 4:
            features = features.flatten(1, 2) if self.channels_last else features.flatten(2).transpose(1, 2)
        if features.shape[1] != grid[0] * grid[1]:
            reason = f"it gives {features.shape[1]} tokens for a grid of {grid[0]}x{grid[1]}"
            raise _wrong_size(self.spec, images, reason)
        return Tokens(patches=features, grid=grid, cls=cls, normed=norm)

    def apply_norm(self, tokens: Tokens) -> Tokens:
        """The same tokens: there is no separate norm."""
        return normed_by(nn.Identity(), tokens)

    def _first_look(self, about: dict[str, Any]) -> tuple[Tensor, tuple[int, int]]:
        """Features and size of a small non-square image, or of a native one where the model accepts no other."""
        native = about["image_size"]
        reason = ""
        for size in (SMALL, (native, native)):
            try:
                features = self.model.forward_features(torch.zeros(1, 3, *size))  # type: ignore[operator]
                if not isinstance(features, Tensor) or features.ndim not in (3, 4):
                    raise TypeError(f"its features are a {type(features).__name__}")
                _stride(features, size, about["name"])
            except (*RAISED, ConfigError) as error:
                reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
                continue
            return features, size
        raise ConfigError(
            f"{about['name']}: has no last feature map ({reason}). Wrap it yourself: codistill.register_encoder with "
            "FunctionEncoder."
        )


def _stride(features: Tensor, size: tuple[int, int], name: str) -> tuple[int, bool]:
    """Pixels per token, and whether channels are the last axis, from the features of an image of known size."""
    shape = tuple(features.shape)
    if features.ndim == 4:
        for channels_last, rows, columns in ((False, shape[2], shape[3]), (True, shape[1], shape[2])):
            if rows and size[0] % rows == 0 and size[0] // rows * columns == size[1]:
                return size[0] // rows, channels_last
    else:
        side = math.isqrt(size[0] * size[1] // shape[1])
        if side and size[0] % side == size[1] % side == 0 and size[0] * size[1] == side**2 * shape[1]:
            return side, True
    raise ConfigError(f"{name}: features of shape {shape} for a {size[0]}x{size[1]} image are no map")


def _square(patch: int | tuple[int, int], name: str) -> int:
    sides = {patch} if isinstance(patch, int) else set(patch)
    if len(sides) != 1:
        raise ConfigError(f"{name}: patches of {patch} pixels are not square, which is not supported")
    return int(sides.pop())


def _pair(found: Tensor | tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor | None]:
    """Patches and prefix tokens (None where the model has none, since timm then returns the patches only)."""
    return (found, None) if isinstance(found, Tensor) else (found[0], found[1])


def _wrong_size(spec: EncoderSpec, images: Tensor, reason: str) -> ConfigError:
    height, width = images.shape[-2:]
    return ConfigError(
        f"{spec.name} does not take images of {height}x{width} ({(reason.splitlines() or ['?'])[0][:200]}). Resize "
        f"them to {spec.image_size}x{spec.image_size}, its native size, or choose a model of flexible size."
    )

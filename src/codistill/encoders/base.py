"""The encoder protocol: ImageNet-normalized images in, `Tokens` out, whatever the network inside.

A subclass has a `spec` and turns images in its *own* normalization into tokens (`encode`); this base converts the
normalization, prepares images from files, PIL or uint8, and refuses wrong shapes.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from codistill.encoders.familiar import FamiliarNames
from codistill.encoders.preprocess import ImageLike, preprocess_images
from codistill.nn.tracing import cached_unless_exporting
from codistill.types import IMAGENET_MEAN, IMAGENET_STD, EncoderSpec, Tokens


@cached_unless_exporting(maxsize=32)
def _scale_and_shift(
    mean: tuple[float, ...], std: tuple[float, ...], device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, ...]:
    """ImageNet's and the wanted mean and std as (1, 3, 1, 1), on the device; cached, not made at every step."""
    with torch.inference_mode(False):
        return tuple(
            torch.tensor(values, device=device, dtype=dtype).view(1, 3, 1, 1)
            for values in (IMAGENET_MEAN, IMAGENET_STD, mean, std)
        )


def renormalize(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """ImageNet-normalized (batch, 3, row, column) to another mean and std; the same tensor if they are equal."""
    if tuple(mean) == IMAGENET_MEAN and tuple(std) == IMAGENET_STD:
        return images
    old_mean, old_std, new_mean, new_std = _scale_and_shift(
        tuple(mean), tuple(std), images.device, images.dtype
    )
    return (images * old_std + old_mean - new_mean) / new_std


def normed_by(norm: nn.Module, tokens: Tokens) -> Tokens:
    """Un-normed tokens after a norm that acts on each token by itself.

    Raises:
        ValueError: for normed tokens.
    """
    if tokens.normed:
        raise ValueError("these tokens are normed already: ask the encoder for norm=False")
    return replace(tokens.map(norm), normed=True)


class Encoder(FamiliarNames, nn.Module, ABC):
    """A frozen or trainable network that gives `Tokens`.

    Attributes:
        spec: sizes, normalization, licence.
    """

    spec: EncoderSpec

    @property
    def num_parameters(self) -> int:
        """Numbers that were learned."""
        return sum(p.numel() for p in self.parameters())

    @abstractmethod
    def encode(self, images: Tensor, norm: bool = True) -> Tokens:
        """Tokens of images (batch, 3, row, column) that are already in the network's own normalization."""

    def encode_blocks(self, images: Tensor, blocks: Sequence[int], norm: bool = True) -> list[Tokens]:
        """Tokens after chosen blocks; encoders without numbered blocks raise NotImplementedError."""
        raise NotImplementedError(f"{self.spec.name} gives no intermediate tokens")

    def forward(self, images: Float[Tensor, "batch 3 row column"], norm: bool = True) -> Tokens:
        """Tokens of ImageNet-normalized images.

        Args:
            images: (batch, 3, row, column), floating point; sides are multiples of `spec.patch_size`.
            norm: apply the encoder's final norm. Projectors and released two-view decoders need False.

        Raises:
            ValueError: for a wrong shape or dtype.
        """
        self._check(images)
        return self.encode(self.own_normalization(images), norm)

    def intermediate(
        self, images: Float[Tensor, "batch 3 row column"], blocks: Sequence[int], norm: bool = True
    ) -> list[Tokens]:
        """Tokens after chosen blocks (0-based, negative from the end) of ImageNet-normalized images."""
        self._check(images)
        return self.encode_blocks(self.own_normalization(images), blocks, norm)

    def apply_norm(self, tokens: Tokens) -> Tokens:
        """The final norm, applied to un-normed tokens of the last or any other block.

        Raises:
            NotImplementedError: if the encoder has a norm that cannot be applied by itself.
            ValueError: for normed tokens.
        """
        raise NotImplementedError(f"{self.spec.name} gives no tokens before and after its norm from one pass")

    @property
    def pools_patches(self) -> bool:
        """Whether its summary follows from its normed patches alone, by `pool`."""
        return False

    def pool(self, patches: Float[Tensor, "batch patch channel"], grid: tuple[int, int]) -> Tensor:
        """The summary (batch, channel) of normed patches, as the encoder makes it of its own; differentiable.

        Raises:
            NotImplementedError: if it has no such pool.
        """
        raise NotImplementedError(f"{self.spec.name} has no pool that reads patches alone")

    def own_normalization(self, images: Tensor) -> Tensor:
        return renormalize(images, self.spec.mean, self.spec.std)

    def preprocess(
        self, images: ImageLike | Sequence[ImageLike], size: int | tuple[int, int] | None = None
    ) -> Float[Tensor, "batch 3 row column"]:
        """Images of any kind to one ImageNet-normalized batch, on this encoder's device and in its dtype.

        Args:
            images: one or several of: a path, the bytes of an image file, a PIL image, or an array or tensor of uint8
                or of floats in [0, 1], (row, column), (row, column, channel) or (channel, row, column).
            size: wanted (rows, columns) or shorter side in pixels; rounded to multiples of the patch size.
                None keeps each image's size (rounded). All images of a batch must then have the same shape.

        Raises:
            DataError: if a file does not decode, an array holds other values or leaves open where its channels are,
                or the resulting shapes differ.
        """
        batch = preprocess_images(images, self.spec.patch_size, size)
        like = self._like()
        return batch if like is None else batch.to(like.device, like.dtype)

    def _like(self) -> Tensor | None:
        """A tensor on the device and in the dtype that images should have."""
        return next((p for p in self.parameters() if p.is_floating_point()), None)

    def architecture(self) -> dict[str, Any]:
        """Everything beside the weights that decides the features, as plain data for `encoders.fingerprint`.

        Subclasses add what their spec lacks. A new field is left out at the value that older versions computed with, so
        that older fingerprints stay valid.
        """
        spec = self.spec
        return {
            "type": type(self).__name__,
            "dim": spec.dim,
            "patch_size": spec.patch_size,
            "depth": spec.depth,
            "has_cls": spec.has_cls,
            "num_registers": spec.num_registers,
            "mean": list(spec.mean),
            "std": list(spec.std),
        }

    def _check(self, images: Tensor) -> None:
        if not isinstance(images, Tensor):
            raise TypeError(
                f"images must be a tensor (batch, 3, row, column); got {type(images).__name__}. "
                "encoder.preprocess(...) makes one of paths, PIL images and arrays."
            )
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"images must be (batch, 3, row, column); got {tuple(images.shape)}")
        if not images.is_floating_point():
            raise ValueError(
                f"images must be floating point and ImageNet-normalized; got {images.dtype}. "
                "encoder.preprocess(...) takes paths, PIL images and uint8 arrays."
            )
        patch = self.spec.patch_size
        height, width = images.shape[-2:]
        if height % patch or width % patch:
            raise ValueError(
                f"image sides must be multiples of the patch size {patch}; got {height}x{width}. "
                f"Use encoder.preprocess, or resize to {max(1, round(height / patch)) * patch}x"
                f"{max(1, round(width / patch)) * patch}."
            )

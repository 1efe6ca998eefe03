"""The encoder protocol: ImageNet-normalized images in, `Tokens` out, for any kind of network.

A subclass defines a `spec` and a method `encode`, which turns images in the network's *own* normalization into tokens.
This base class converts the normalization, prepares images from files, PIL or uint8, and refuses wrong shapes.
"""

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
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
    """ImageNet's mean and std and the wanted ones, each (1, 3, 1, 1); cached, since every step needs them."""
    with torch.inference_mode(False):
        return tuple(
            torch.tensor(values, device=device, dtype=dtype).view(1, 3, 1, 1)
            for values in (IMAGENET_MEAN, IMAGENET_STD, mean, std)
        )


def renormalize(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Convert ImageNet-normalized images (batch, 3, row, column) to another mean and std.

    Returns the same tensor if the mean and std are ImageNet's.
    """
    if tuple(mean) == IMAGENET_MEAN and tuple(std) == IMAGENET_STD:
        return images
    old_mean, old_std, new_mean, new_std = _scale_and_shift(
        tuple(mean), tuple(std), images.device, images.dtype
    )
    return (images * old_std + old_mean - new_mean) / new_std


def normed_by(norm: Callable[[Tensor], Tensor], tokens: Tokens) -> Tokens:
    """Apply a norm, which acts on each token by itself, to un-normed tokens.

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
        """Number of learned values."""
        return sum(p.numel() for p in self.parameters())

    @abstractmethod
    def encode(self, images: Tensor, norm: bool = True) -> Tokens:
        """Tokens of images (batch, 3, row, column) that have the network's own normalization already."""

    def encode_blocks(self, images: Tensor, blocks: Sequence[int], norm: bool = True) -> list[Tokens]:
        """Tokens after chosen blocks; encoders without numbered blocks raise NotImplementedError."""
        raise NotImplementedError(f"{self.spec.name} gives no intermediate tokens")

    def forward(self, images: Float[Tensor, "batch 3 row column"], norm: bool = True) -> Tokens:
        """Tokens of ImageNet-normalized images.

        Args:
            images: (batch, 3, row, column), floating point; they are converted to the network's dtype. Sides are
                multiples of `spec.patch_size`.
            norm: apply the encoder's final norm. Projectors and released two-view decoders need False.

        Raises:
            ValueError: for a wrong shape or dtype.
        """
        self._check(images)
        return self.encode(self.own_normalization(images), norm)

    def intermediate(
        self, images: Float[Tensor, "batch 3 row column"], blocks: Sequence[int], norm: bool = True
    ) -> list[Tokens]:
        """Tokens after chosen blocks (0-based, negative from the end) of ImageNet-normalized images.

        Raises:
            ValueError: for images of a wrong shape or dtype, or blocks that are no list of numbers, or do not exist.
        """
        self._check(images)
        try:
            numbers = [operator.index(block) for block in blocks]
        except TypeError:
            raise ValueError(f"blocks are a list of numbers, such as [-1]; got {blocks!r}") from None
        return self.encode_blocks(self.own_normalization(images), numbers, norm)

    def apply_norm(self, tokens: Tokens) -> Tokens:
        """Apply the final norm to un-normed tokens of the last or any other block.

        Raises:
            NotImplementedError: if the encoder has a norm that cannot be applied by itself.
            ValueError: for normed tokens.
        """
        raise NotImplementedError(f"{self.spec.name} gives no tokens before and after its norm from one pass")

    @property
    def pools_patches(self) -> bool:
        """Whether `pool` computes the summary vector from the normed patches alone."""
        return False

    def pool(self, patches: Float[Tensor, "batch patch channel"], grid: tuple[int, int]) -> Tensor:
        """Summary vector (batch, channel) of normed patches, by the encoder's own pooling; differentiable.

        Raises:
            NotImplementedError: if the encoder does not pool patches.
        """
        raise NotImplementedError(f"{self.spec.name} has no pool that reads patches alone")

    def own_normalization(self, images: Tensor) -> Tensor:
        """ImageNet-normalized images in the network's own normalization and in its dtype."""
        images, like = renormalize(images, self.spec.mean, self.spec.std), self._like()
        return images if like is None else images.to(like.dtype)

    def preprocess(
        self, images: ImageLike | Sequence[ImageLike], size: int | tuple[int, int] | None = None
    ) -> Float[Tensor, "batch 3 row column"]:
        """Convert images of any kind to one ImageNet-normalized batch, on this encoder's device and in its dtype.

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
        """A tensor whose device and dtype images should have; None where the encoder has none."""
        return next((p for p in self.parameters() if p.is_floating_point()), None)

    def architecture(self) -> dict[str, Any]:
        """Everything besides the weights that determines the features, as plain data for `encoders.fingerprint`.

        Subclasses add what the spec does not say. A field that is added later is left out while it has the value that
        older versions computed with, so that older fingerprints stay valid.
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
        if height % patch or width % patch or not (height and width):
            raise ValueError(
                f"image sides must be multiples of the patch size {patch}; got {height}x{width}. "
                f"Use encoder.preprocess, or resize to {max(1, round(height / patch)) * patch}x"
                f"{max(1, round(width / patch)) * patch}."
            )

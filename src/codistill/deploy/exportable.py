"""A network in the form that exporters need: named tensors in, a tuple of named tensors out, with open axes.

Ports say which axes are open: `batch`, and `rows*14` for an image side in whole patches. An `Exportable` also makes
inputs of any such size from pictures, so that the exported file can be checked.
"""

import copy
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from codistill.deploy.config import ExportConfig, Takes
from codistill.encoders.base import Encoder
from codistill.encoders.fingerprint import weights_hash
from codistill.encoders.frozen import FrozenViTEncoder
from codistill.encoders.onnx import OnnxEncoder
from codistill.errors import ConfigError
from codistill.imaging.normalize import normalized
from codistill.programs.record import FormatName, Port, PrecisionName, TokenFacts
from codistill.teachers.quantize import quantize_linears
from codistill.types import IMAGENET_MEAN, IMAGENET_STD

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16, "int8": torch.float32}


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes of a batch: number of images, and rows and columns of patches."""

    batch: int
    rows: int
    columns: int


@dataclass(frozen=True, kw_only=True)
class About:
    """Description of the weights in an exported file; see `ProgramRecord`."""

    kind: str
    source: str
    name: str
    licence: str
    patch_size: int
    fingerprint: str
    tokens: TokenFacts | None = None
    classes: tuple[str, ...] = ()


def about_encoder(encoder: Encoder, kind: str, source: str, **more: object) -> About:
    """Description of an encoder's weights.

    Raises:
        ConfigError: for one that was itself exported, or folded into a precision.
    """
    if isinstance(encoder, OnnxEncoder):
        raise ConfigError(
            f"{encoder.program.path}: is an exported file itself: export the encoder that it was made from"
        )
    if isinstance(encoder, FrozenViTEncoder):
        raise ConfigError(
            f"{encoder.spec.name} with precision={encoder.precision} is not exported, because its weights are folded: "
            "name the encoder without a precision, and choose that of the file (--precision)"
        )
    spec = encoder.spec
    return About(
        kind=kind,
        source=source,
        name=spec.name,
        licence=spec.licence,
        patch_size=spec.patch_size,
        fingerprint=weights_hash(encoder),
        **more,  # type: ignore[arg-type]
    )


class Exportable(nn.Module):
    """A network with named inputs and outputs; `forward(*inputs)` of subclasses computes a tuple of tensors.

    Attributes:
        about: description of the weights.
        inputs, outputs: ports in the order of `forward`'s arguments and results.
        fixed_size: rows and columns of its images in pixels; None where they are open.
        least: smallest number of rows and columns of patches.
        dtype: dtype of the parts in lower precision.
    """

    about: About
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    fixed_size: tuple[int, int] | None = None
    least: int = 1
    dtype: torch.dtype = torch.float32

    def to_lower(self) -> list[nn.Module]:
        """The parts to which a lower precision applies."""
        raise NotImplementedError

    def lowered(self, precision: PrecisionName, format: FormatName) -> Self:
        """A copy whose transformer has another precision; the network itself for fp32.

        For int8 in PyTorch's formats, weights are quantized here; ONNX models are quantized after conversion.

        Raises:
            ConfigError: if there is no part to which the precision applies.
            MissingExtraError: for int8 without torchao.
        """
        if precision == "fp32":
            return self
        if not self.to_lower():
            raise ConfigError(
                f"--precision {precision} would have no effect: a head without its encoder and decoder stays in fp32"
            )
        made = copy.deepcopy(self)
        made.dtype = DTYPES[precision]
        for part in made.to_lower():
            part.to(made.dtype)
            if precision == "int8" and format != "onnx":
                quantize_linears(part)
        return made

    def example(self, sizes: Sizes, images: Tensor) -> dict[str, Tensor]:
        """Inputs by name, made from pictures.

        Args:
            sizes: sizes of the batch.
            images: (batch, row, column, 3) uint8, of these sizes in patches.
        """
        raise NotImplementedError


def image_port(takes: Takes, config: ExportConfig, patch_size: int, name: str = "") -> Port:
    """The port of images or pixels."""
    batch, rows, columns = axes_of(config, patch_size)
    if takes == "pixels":
        return Port(
            name=name or "pixels", axes=(batch, rows, columns, 3), dtype="uint8", meaning="RGB, 0 to 255"
        )
    meaning = "RGB, ImageNet-normalized"
    return Port(name=name or "images", axes=(batch, 3, rows, columns), meaning=meaning)


def axes_of(config: ExportConfig, patch_size: int) -> tuple[int | str, int | str, int | str]:
    """Batch, rows and columns of images: numbers where they are fixed.

    Raises:
        ConfigError: for a size that is not a multiple of the patch size.
    """
    batch = "batch" if config.batch is None else config.batch
    if config.size is None:
        return batch, f"rows*{patch_size}", f"columns*{patch_size}"
    wrong = [side for side in config.size if side % patch_size]
    if wrong:
        near = "x".join(str(max(1, round(side / patch_size)) * patch_size) for side in config.size)
        raise ConfigError(
            f"--size {'x'.join(map(str, config.size))}: sides must be multiples of the patch size {patch_size}; "
            f"nearest: {near}"
        )
    return batch, *config.size


def per_patch(axis: int | str, patch_size: int) -> int | str:
    """The same axis in patches: `rows` for `rows*14`."""
    return axis.partition("*")[0] if isinstance(axis, str) else axis // patch_size


class ImageInput(nn.Module):
    """The part of a graph behind a port of images or pixels, which makes normalized images of the input.

    Args:
        takes: `images` or `pixels`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, takes: Takes) -> None:
        super().__init__()
        self.takes = takes
        for name, values in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)

    def forward(self, given: Tensor) -> Tensor:
        """ImageNet-normalized images, fp32."""
        if self.takes == "images":
            return given
        return (given.permute(0, 3, 1, 2).float() / 255 - self.mean) / self.std

    def example(self, pixels: Tensor) -> Tensor:
        """Convert (batch, row, column, 3) uint8 to the port's input."""
        return pixels if self.takes == "pixels" else normalized(pixels)

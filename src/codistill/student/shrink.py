"""Make a narrower encoder from a trained one: an encoder and images in, an encoder with fewer channels and heads out.

Used as a student's initial weights, it replaces a short distillation.

1. The channels are rotated to the principal components of the residual stream on the images (over all blocks, of tokens
normalized as by LayerNorm), and the weakest are cut off (SliceGPT, arXiv 2401.15024). The weakest of those kept is
mapped to the direction that LayerNorm removes.
2. In every block, the heads and hidden units are kept whose outputs vary most in these channels. Their output layers
are fitted again (`shrink_blocks.py`).
3. A projector back to the wide encoder's normed tokens is fitted as well, so that training can continue.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import normalize

from codistill.encoders.vit import ViTEncoder
from codistill.errors import ConfigError, DataError
from codistill.nn.moments import Moments, RidgeSums
from codistill.nn.position import resize_position_embedding
from codistill.nn.rope import RopeTables
from codistill.nn.seeded import seeded
from codistill.student.shrink_blocks import BlockFit, centred, fitted
from codistill.student.statistics import standardize
from codistill.student.student import Student
from codistill.types import TargetSpec, TokenKind

_RIDGE = 1e-5
"""Penalty of the projector's least squares, relative to the mean variance; small, as weak channels count too."""
_TOKENS_PER_INPUT = 4
"""Smallest number of tokens per input of the widest fitted layer."""


@dataclass(frozen=True, kw_only=True)
class Shrunk:
    """A narrower encoder, and how well it reproduces the wide one.

    Attributes:
        student: the narrow encoder with one teacher, the wide encoder; in evaluation mode.
        kept: share of the normalized residual stream's energy that lies in the kept channels.
        unexplained: for each block, the share of the variance in these channels after it that the narrow encoder
            misses, on the images of the fit.
    """

    student: Student
    kept: float
    unexplained: tuple[float, ...]

    @property
    def encoder(self) -> ViTEncoder:
        encoder = self.student.encoder
        assert isinstance(encoder, ViTEncoder)
        return encoder


@torch.no_grad()
def shrink(
    wide: ViTEncoder,
    batches: Sequence[Tensor],
    *,
    num_heads: int,
    teacher: str,
    image_size: int | None = None,
) -> Shrunk:
    """Shrink an encoder to fewer heads, and its channels in proportion. Its depth does not change.

    Args:
        wide: a trained encoder; it is not changed.
        batches: ImageNet-normalized images, each (batch, 3, row, column), all of one size. Some hundred images like
            those that the encoder will see. Both residual streams of all of them are held in memory.
        num_heads: number of heads to keep. The width of a head does not change: the narrow encoder has dim / heads *
            num_heads channels.
        teacher: name of the wide encoder in the student.
        image_size: side in pixels of the native grid of a learned positional embedding; None: that of the images.

    Raises:
        ConfigError: if the number of heads is not smaller than before.
        DataError: if there are too few images to fit the layers.
    """
    given = wide.config
    if not 0 < num_heads < given.num_heads:
        raise ConfigError(
            f"this encoder has {given.num_heads} heads: it can keep 1 to {given.num_heads - 1}; got {num_heads}"
        )
    dim, hidden = (size * num_heads // given.num_heads for size in (given.dim, given.hidden_size))
    _check_images(wide, batches, max(hidden, dim))
    embedded = [wide.embed(wide.own_normalization(images)) for images in batches]
    streams, rope = [x for x, _, _ in embedded], embedded[0][2]
    turned, kept = _channels(wide, streams, rope, dim)
    config = replace(
        given,
        dim=dim,
        num_heads=num_heads,
        hidden=hidden,
        image_size=image_size or batches[0].shape[-1],
        layer_scale=None if given.layer_scale is None else 1.0,
    )
    spec = wide.spec
    narrow = ViTEncoder(
        config, name=spec.name, licence=spec.licence, mean=tuple(spec.mean), std=tuple(spec.std)
    )
    _turn_embedding(wide, narrow, turned)
    starts = [narrow.embed(narrow.own_normalization(images))[0] for images in batches]
    fit = BlockFit(turned, streams, starts, rope)
    del embedded, streams, starts  # the fit replaces its own references block by block
    unexplained = []
    for block, small in zip(wide.blocks, narrow.blocks, strict=True):
        fit.attention(block, small)  # type: ignore[arg-type]
        fit.feed_forward(block, small)  # type: ignore[arg-type]
        unexplained.append(fit.unexplained())
    student = _with_projector(narrow, wide, fit, teacher)
    return Shrunk(student=student.eval(), kept=kept, unexplained=tuple(unexplained))


def _check_images(wide: ViTEncoder, batches: Sequence[Tensor], inputs: int) -> None:
    if not batches:
        raise DataError("an encoder is shrunk on images, and there are none")
    sizes = {tuple(images.shape[-2:]) for images in batches}
    if len(sizes) > 1:
        raise DataError(f"images must be of one size; got {sorted(sizes)}")
    rows, columns = wide.grid_of(batches[0])
    need = -(-_TOKENS_PER_INPUT * inputs // (rows * columns))  # rounded up
    if sum(map(len, batches)) < need:
        raise DataError(
            f"{sum(map(len, batches))} images are too few to fit layers of {inputs} inputs: give at least {need} of "
            "this size, better ten times as many"
        )


def _channels(
    wide: ViTEncoder, streams: Sequence[Tensor], rope: RopeTables | None, dim: int
) -> tuple[Tensor, float]:
    """Orthonormal directions (channel, narrow channel), and the share of the normalized stream's energy within them."""
    seen = Moments(wide.config.dim, streams[0].device)
    for stream in streams:
        x = stream
        seen.add(normalize(centred(x), dim=-1))
        for block in wide.blocks:
            x = x + block.ls1(block.attn(block.norm1(x), rope))  # type: ignore[operator]
            seen.add(normalize(centred(x), dim=-1))
            x = x + block.ls2(block.mlp(block.norm2(x)))  # type: ignore[operator]
            seen.add(normalize(centred(x), dim=-1))
    energies, directions = torch.linalg.eigh(seen.second())  # ascending; directions in columns
    # A Householder reflection maps the weakest direction to that of equal channels, which LayerNorm removes.
    mirror = torch.full((dim,), -(dim**-0.5), dtype=energies.dtype, device=energies.device)
    mirror[0] += 1.0  # e_1 - 1 / √dim
    reflection = torch.eye(dim, dtype=energies.dtype, device=energies.device)
    reflection -= 2.0 * mirror[:, None] * mirror / mirror.square().sum()
    turned = directions[:, -dim:] @ reflection  # (channel, narrow channel)
    return turned.float(), float(energies[-dim:].sum() / energies.sum())


def _turn_embedding(wide: ViTEncoder, narrow: ViTEncoder, turned: Tensor) -> None:
    """Copy patch embedding, class token, registers and positions, expressed in the kept channels."""
    convolution, small = wide.patch_embed.proj, narrow.patch_embed.proj
    narrow.to(turned.device)
    small.weight.copy_(torch.einsum("oixy,oc->cixy", convolution.weight, turned))  # output channels only
    if small.bias is not None and convolution.bias is not None:
        small.bias.copy_(convolution.bias @ turned)
    for name in ("cls_token", "register_tokens", "mask_token"):
        if hasattr(narrow, name):
            getattr(narrow, name).copy_(getattr(wide, name) @ turned)
    config = narrow.config
    if config.position == "learned":
        side = config.image_size // config.patch_size
        position = resize_position_embedding(
            wide.pos_embed,
            (side, side),
            num_prefix=config.num_prefix,
            offset=config.position_offset,
            antialias=config.position_antialias,
        )
        narrow.pos_embed.copy_(position @ turned)


def _with_projector(narrow: ViTEncoder, wide: ViTEncoder, fit: BlockFit, teacher: str) -> Student:
    """Create a student whose transformer projector is fitted by least squares.

    Initially, the projector is hardly more than its linear layer, which is what is fitted.
    """
    kinds: tuple[TokenKind, ...] = ("cls", "patch") if wide.config.has_cls else ("patch",)
    device = fit.turned.device
    seen = {kind: Moments(wide.config.dim, device, diagonal=True) for kind in kinds}
    sums = RidgeSums()

    def tokens(stream: Tensor, encoder: ViTEncoder, kind: TokenKind) -> Tensor:
        x = (
            stream[:, :1]
            if kind == "cls"
            else stream[:, encoder.config.num_prefix + encoder.config.num_registers :]
        )
        return wide.norm(x) if encoder is wide else x

    for stream in fit.wide:
        for kind in kinds:
            seen[kind].add(tokens(stream, wide, kind))
    statistics = {
        kind: (moments.mean().float(), moments.covariance().sqrt().float()) for kind, moments in seen.items()
    }
    for stream, small in zip(fit.wide, fit.narrow, strict=True):
        for kind in kinds:
            target = standardize(tokens(stream, wide, kind), *statistics[kind])
            sums.add(tokens(small, narrow, kind).flatten(0, -2), target.flatten(0, -2))
    spec = TargetSpec(name=teacher, dim=wide.config.dim, kinds=kinds)
    with seeded(0):
        student = Student(narrow, (spec,)).to(device)
    weight, bias = fitted(sums, _RIDGE)
    linear = student.projectors[teacher].get_submodule("linear")
    linear.weight.copy_(weight)  # type: ignore[operator]
    linear.bias.copy_(bias)  # type: ignore[operator]
    for kind, (mean, std) in statistics.items():
        kept = student.target_statistics[teacher].of_kind(kind)  # type: ignore[operator]
        kept.mean.copy_(mean)
        kept.std.copy_(std)
    return student

"""The modules of DUNE's, UNIC's and AM-RADIO's projectors (see `student/projectors.py`).

The student's tokens before the final norm go in, a teacher's tokens come out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from codistill.nn.blocks import Block, init_transformer_weights
from codistill.nn.linear import Linear
from codistill.types import TokenKind, Tokens

if TYPE_CHECKING:
    from codistill.student.projectors import ProjectorConfig


@dataclass(frozen=True, kw_only=True)
class StudentShape:
    """Sizes of the student that a projector needs."""

    dim: int
    depth: int
    num_heads: int


def width_of(kind: TokenKind, out_dim: int, cls_dim: int | None) -> int:
    """Number of channels of a token kind."""
    return cls_dim or out_dim if kind == "cls" else out_dim


class MlpRung(nn.Module):
    """Linear, GELU, Linear; weights truncated-normal with std 0.02, biases zero (keys `layers.0`, `layers.2`)."""

    def __init__(self, dim: int, hidden: int, out: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(Linear(dim, hidden), nn.GELU(), Linear(hidden, out))
        init_transformer_weights(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class LadderProjector(nn.Module):
    """One MLP per token kind and chosen block; outputs are summed over blocks (keys `{kind}.{block}.layers.*`)."""

    def __init__(
        self,
        config: "ProjectorConfig",
        student: StudentShape,
        out_dim: int,
        kinds: Sequence[TokenKind],
        cls_dim: int | None = None,
    ) -> None:
        super().__init__()
        self.kinds = tuple(kinds)
        self.blocks = config.student_blocks(student.depth)
        hidden, last = config.hidden or 768, config.last_hidden or 3072
        for kind in self.kinds:
            width = width_of(kind, out_dim, cls_dim)
            rungs = {
                str(block): MlpRung(student.dim, last if block == student.depth - 1 else hidden, width)
                for block in self.blocks
            }
            self.add_module(kind, nn.ModuleDict(rungs))

    def _sum(self, kind: TokenKind, outputs: Sequence[Tokens]) -> Tensor:
        rungs = self.get_submodule(kind)
        parts = []
        for rung, tokens in zip(rungs.values(), outputs, strict=True):  # type: ignore[attr-defined]
            x = tokens.of_kind(kind)
            if x is None:
                raise ValueError(f"the projector needs {kind} tokens, which the student does not have")
            parts.append(rung(x))
        return torch.stack(parts).sum(0) if len(parts) > 1 else parts[0]  # over blocks

    def output_layers(self, kind: TokenKind) -> tuple[str, ...]:
        """Names of the linear layers whose outputs add up to the tokens of a kind."""
        return tuple(f"{kind}.{block}.layers.2" for block in self.blocks)

    def forward(self, outputs: Sequence[Tokens]) -> Tokens:
        """Map the student's tokens of `self.blocks` (in that order, before the final norm) to the teacher's."""
        projected = {kind: self._sum(kind, outputs) for kind in self.kinds}
        patches = projected.get("patch")
        if patches is None:
            last = outputs[-1].patches
            patches = last.new_zeros(last.shape[0], 0, projected["cls"].shape[-1])  # no patch targets
        return Tokens(patches=patches, grid=outputs[-1].grid, cls=projected.get("cls"), normed=True)


class MlpProjector(LadderProjector):
    """A ladder with a single MLP, after the last block; its hidden width is 4 * student dim by default."""

    def __init__(
        self,
        config: "ProjectorConfig",
        student: StudentShape,
        out_dim: int,
        kinds: Sequence[TokenKind],
        cls_dim: int | None = None,
    ) -> None:
        hidden = config.hidden or 4 * student.dim
        last = (student.depth - 1,)
        last_only = replace(config, kind="ladder", hidden=hidden, last_hidden=hidden, blocks=last)
        super().__init__(last_only, student, out_dim, kinds, cls_dim)


class TransformerProjector(nn.Module):
    """Pre-norm block(s) over [cls, patches], then Linear (keys `blocks.{i}.*`, `linear.*`).

    Class tokens that are not as wide as patches have a Linear of their own (`linear_cls.*`).
    """

    def __init__(
        self,
        config: "ProjectorConfig",
        student: StudentShape,
        out_dim: int,
        kinds: Sequence[TokenKind],
        cls_dim: int | None = None,
    ) -> None:
        super().__init__()
        self.kinds = tuple(kinds)
        self.blocks = nn.ModuleList(
            Block(
                student.dim,
                config.num_heads or student.num_heads,
                4 * student.dim,
                layer_scale=config.layer_scale,
            )
            for _ in range(config.num_blocks or 1)
        )
        self.linear = Linear(student.dim, out_dim)
        apart = cls_dim not in (None, out_dim)
        self.linear_cls = Linear(student.dim, cls_dim or out_dim) if apart else None
        init_transformer_weights(self)

    def output_layers(self, kind: TokenKind) -> tuple[str, ...]:
        """Names of the linear layers whose outputs add up to the tokens of a kind."""
        return ("linear_cls" if kind == "cls" and self.linear_cls is not None else "linear",)

    def forward(self, outputs: Sequence[Tokens]) -> Tokens:
        """Map the student's tokens to the teacher's: a sequence of one, the last block's before the final norm."""
        tokens = outputs[-1]
        x = tokens.patches if tokens.cls is None else torch.cat((tokens.cls[:, None], tokens.patches), dim=1)
        for block in self.blocks:
            x = block(x)
        if self.linear_cls is not None and tokens.cls is not None:
            return Tokens(self.linear(x[:, 1:]), tokens.grid, self.linear_cls(x[:, 0]), normed=True)
        x = self.linear(x)  # (batch, [cls +] patch, teacher channel)
        if tokens.cls is None:
            return Tokens(patches=x, grid=tokens.grid, normed=True)
        return Tokens(patches=x[:, 1:], grid=tokens.grid, cls=x[:, 0], normed=True)

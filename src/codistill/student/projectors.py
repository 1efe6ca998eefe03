"""Projectors: student tokens in, one teacher's tokens out.

Three designs, all on un-normed tokens without registers:
* `mlp` (AM-RADIO): after the last block, Linear, GELU, Linear, one per token kind;
* `ladder` (UNIC): the same on the output of every chosen block, summed over blocks;
* `transformer` (DUNE, section 4.2): a pre-norm block over [cls, patches], then a Linear shared by all tokens.
Each is a row of `PROJECTORS`; `file.py:NAME` adds the user's own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from codistill.errors import ConfigError, check_least, unknown_name
from codistill.files.own_code import is_own, own_object
from codistill.nn.blocks import Block, init_transformer_weights
from codistill.nn.linear import Linear
from codistill.types import TokenKind, Tokens


@dataclass(frozen=True, kw_only=True)
class ProjectorConfig:
    """Which projector, and its sizes; every default is the published one.

    Attributes:
        kind: a name in `PROJECTORS`, or `file.py:NAME`.
        hidden: hidden width of an MLP (None: 768 for a ladder, 4 * student dim for `mlp`).
        last_hidden: hidden width of a ladder's last rung (None: 3072).
        blocks: student blocks that a ladder reads, 0-based (None: all). DUNE's sparse ladder: (2, 5, 8, 11).
        num_blocks: transformer blocks.
        num_heads: heads of these (None: the student's).
        layer_scale: their initial LayerScale value.
    """

    kind: str = "transformer"
    hidden: int | None = None
    last_hidden: int | None = None
    blocks: tuple[int, ...] | None = None
    num_blocks: int = 1
    num_heads: int | None = None
    layer_scale: float | None = 1e-4

    def __post_init__(self) -> None:
        if self.kind not in PROJECTORS and not is_own(self.kind):
            raise ConfigError(
                f"{unknown_name('projector kind', self.kind, PROJECTORS)} file.py:NAME will do as well."
            )
        if self.blocks is not None and (not self.blocks or sorted(set(self.blocks)) != list(self.blocks)):
            raise ConfigError(f"projector blocks must be increasing and not empty; got {self.blocks}")
        check_least(self, "num_blocks")

    def student_blocks(self, depth: int) -> tuple[int, ...]:
        """The student blocks (0-based, increasing) whose outputs this projector reads."""
        if "blocks" not in find_projector(self.kind).options:
            return (depth - 1,)
        blocks = tuple(range(depth)) if self.blocks is None else self.blocks
        if not 0 <= blocks[0] <= blocks[-1] < depth:
            raise ConfigError(
                f"{self.kind} blocks {blocks} do not fit a student of {depth} blocks (0 to {depth - 1})"
            )
        return blocks


@dataclass(frozen=True, kw_only=True)
class StudentShape:
    """The student's sizes, for a projector."""

    dim: int
    depth: int
    num_heads: int


class MlpRung(nn.Module):
    """Linear, GELU, Linear; trunc-normal 0.02, zero bias (keys `layers.0`, `layers.2`)."""

    def __init__(self, dim: int, hidden: int, out: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(Linear(dim, hidden), nn.GELU(), Linear(hidden, out))
        init_transformer_weights(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class LadderProjector(nn.Module):
    """One MLP per token kind and chosen block; outputs are summed over blocks (keys `{kind}.{block}.layers.*`)."""

    def __init__(
        self, config: ProjectorConfig, student: StudentShape, out_dim: int, kinds: Sequence[TokenKind]
    ) -> None:
        super().__init__()
        self.kinds = tuple(kinds)
        self.blocks = config.student_blocks(student.depth)
        hidden, last = config.hidden or 768, config.last_hidden or 3072
        for kind in self.kinds:
            rungs = {
                str(block): MlpRung(student.dim, last if block == student.depth - 1 else hidden, out_dim)
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

    def forward(self, outputs: Sequence[Tokens]) -> Tokens:
        """Un-normed student tokens of `self.blocks`, in that order, to the teacher's tokens."""
        projected = {kind: self._sum(kind, outputs) for kind in self.kinds}
        patches = projected.get("patch")
        if patches is None:
            last = outputs[-1].patches
            patches = last.new_zeros(last.shape[0], 0, projected["cls"].shape[-1])  # no patch targets
        return Tokens(patches=patches, grid=outputs[-1].grid, cls=projected.get("cls"), normed=True)


class MlpProjector(LadderProjector):
    """A ladder of one rung, after the last block; hidden width 4 * student dim by default."""

    def __init__(
        self, config: ProjectorConfig, student: StudentShape, out_dim: int, kinds: Sequence[TokenKind]
    ) -> None:
        hidden = config.hidden or 4 * student.dim
        last_only = ProjectorConfig(
            kind="ladder", hidden=hidden, last_hidden=hidden, blocks=(student.depth - 1,)
        )
        super().__init__(last_only, student, out_dim, kinds)


class TransformerProjector(nn.Module):
    """Pre-norm block(s) over [cls, patches], then Linear (keys `blocks.{i}.*`, `linear.*`)."""

    def __init__(
        self, config: ProjectorConfig, student: StudentShape, out_dim: int, kinds: Sequence[TokenKind]
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
            for _ in range(config.num_blocks)
        )
        self.linear = Linear(student.dim, out_dim)
        init_transformer_weights(self)

    def forward(self, outputs: Sequence[Tokens]) -> Tokens:
        """Un-normed student tokens of the last block (a sequence of one) to the teacher's tokens."""
        tokens = outputs[-1]
        x = tokens.patches if tokens.cls is None else torch.cat((tokens.cls[:, None], tokens.patches), dim=1)
        for block in self.blocks:
            x = block(x)
        x = self.linear(x)  # (batch, [cls +] patch, teacher channel)
        if tokens.cls is None:
            return Tokens(patches=x, grid=tokens.grid, normed=True)
        return Tokens(patches=x[:, 1:], grid=tokens.grid, cls=x[:, 0], normed=True)


@dataclass(frozen=True, kw_only=True)
class Projector:
    """A row of `PROJECTORS`.

    Attributes:
        build: from config, student, the teacher's width and token kinds to a module that turns a sequence of un-normed
            student tokens, one per block that it reads, into the teacher's tokens.
        options: fields of `ProjectorConfig` that it reads; others are refused. With `blocks` it reads these student
            blocks (all by default), without only the last one.
    """

    build: Callable[[ProjectorConfig, StudentShape, int, Sequence[TokenKind]], nn.Module]
    options: tuple[str, ...] = ()


PROJECTORS: dict[str, Projector] = {
    "transformer": Projector(build=TransformerProjector, options=("num_blocks", "num_heads", "layer_scale")),
    "ladder": Projector(build=LadderProjector, options=("hidden", "last_hidden", "blocks")),
    "mlp": Projector(build=MlpProjector, options=("hidden",)),
}
"""Every projector that ships with codistill."""


def find_projector(kind: str) -> Projector:
    """A row of `PROJECTORS`, or `file.py:NAME`: a `Projector`, or a class or function that builds one.

    Raises:
        ConfigError: if the file has none.
    """
    if kind in PROJECTORS:
        return PROJECTORS[kind]
    found = own_object(kind, "projector", lambda found: isinstance(found, Projector) or callable(found))
    return found if isinstance(found, Projector) else Projector(build=found)

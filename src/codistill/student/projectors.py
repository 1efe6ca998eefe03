"""Projectors: student tokens in, one teacher's tokens out.

All read the student's tokens before the final norm, without registers:

* `mlp` (AM-RADIO): after the last block, Linear, GELU, Linear, one per token kind;
* `ladder` (UNIC): the same on the output of every chosen block, summed over blocks;
* `transformer` (DUNE, section 4.2): a pre-norm block over [cls, patches], then a Linear shared by all tokens;
* `ln_mlp` (EUPE), `siglino`, `radio_mlp`, `radio_attention`: see `student/adaptors.py`.

Each is a row of `PROJECTORS`; `file.py:NAME` adds the user's own.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn

from codistill.errors import ConfigError, check_least, unknown_name
from codistill.files.own_code import is_own, own_object
from codistill.student.adaptors import BOTH, AttentionHead, HeadProjector, LayerNormMlp, ResidualMlp
from codistill.student.projector_modules import (
    LadderProjector,
    MlpProjector,
    StudentShape,
    TransformerProjector,
    width_of,
)
from codistill.types import TargetSpec, TokenKind

RADIO_HEADS = 16
"""Number of attention heads in RADIO's attention head."""


@dataclass(frozen=True, kw_only=True)
class ProjectorConfig:
    """The kind of projector and its sizes; every default is the published one.

    Attributes:
        kind: a name in `PROJECTORS`, or `file.py:NAME`.
        hidden: hidden width of an MLP (None: 768 for a ladder, 4 * student dim for `mlp`, 3072 for `ln_mlp`, 1024 for
            RADIO's).
        last_hidden: hidden width of a ladder's MLP after the last student block (None: 3072).
        blocks: student blocks that a ladder reads, 0-based (None: all). DUNE's sparse ladder: (2, 5, 8, 11).
        num_blocks: number of transformer blocks (None: 1, or 2 for `radio_attention`), or of residual layers of
            `radio_mlp` (None: 1, not published).
        num_heads: attention heads of the transformer blocks (None: the student's, or 16 for `radio_attention`).
        layer_scale: initial LayerScale value of the transformer blocks.
        shared: use one head for class tokens and patches, instead of one for each.
        pre_norm: begin with LayerNorm and GELU.
    """

    kind: str = "transformer"
    hidden: int | None = None
    last_hidden: int | None = None
    blocks: tuple[int, ...] | None = None
    num_blocks: int | None = None
    num_heads: int | None = None
    layer_scale: float | None = 1e-4
    shared: bool = False
    pre_norm: bool = False

    def __post_init__(self) -> None:
        if self.kind not in PROJECTORS and not is_own(self.kind):
            raise ConfigError(
                f"{unknown_name('projector kind', self.kind, PROJECTORS)} file.py:NAME will do as well."
            )
        if self.blocks is not None and (not self.blocks or sorted(set(self.blocks)) != list(self.blocks)):
            raise ConfigError(f"projector blocks must be increasing and not empty; got {self.blocks}")
        check_least(self, "num_blocks", "num_heads", "hidden", "last_hidden")

    def student_blocks(self, depth: int) -> tuple[int, ...]:
        """Student blocks (0-based, increasing) whose outputs this projector reads."""
        if "blocks" not in find_projector(self.kind).options:
            return (depth - 1,)
        blocks = tuple(range(depth)) if self.blocks is None else self.blocks
        if not 0 <= blocks[0] <= blocks[-1] < depth:
            raise ConfigError(
                f"{self.kind} blocks {blocks} do not fit a student of {depth} blocks (0 to {depth - 1})"
            )
        return blocks


def _heads(
    make: Callable[[TokenKind, int], nn.Module],
    out_dim: int,
    kinds: Sequence[TokenKind],
    cls_dim: int | None,
    shared: bool = False,
) -> HeadProjector:
    """Create the heads of a projector from their token kind and width: one per kind, or one for all.

    Raises:
        ConfigError: if one head would need two output widths.
    """
    if shared and "cls" in kinds and cls_dim not in (None, out_dim):
        raise ConfigError(
            f"one head for class tokens ({cls_dim} channels) and patches ({out_dim}) cannot give both widths. Choose a "
            "projector with one head each: --student.projector.kind ln_mlp, without shared"
        )
    heads = (
        {BOTH: make("patch", out_dim)}
        if shared
        else {k: make(k, width_of(k, out_dim, cls_dim)) for k in kinds}
    )
    return HeadProjector(heads, tuple(kinds), out_dim)


def ln_mlp(
    config: ProjectorConfig,
    student: StudentShape,
    out_dim: int,
    kinds: Sequence[TokenKind],
    cls_dim: int | None = None,
) -> HeadProjector:
    """EUPE's adaptors; the hidden width is 3072, as in EUPE's second and third stage (1536 in the first)."""
    hidden = config.hidden or 3072
    return _heads(
        lambda _, out: LayerNormMlp(student.dim, hidden, out), out_dim, kinds, cls_dim, config.shared
    )


def siglino(
    config: ProjectorConfig,
    student: StudentShape,
    out_dim: int,
    kinds: Sequence[TokenKind],
    cls_dim: int | None = None,
) -> HeadProjector:
    """SigLino's adaptor: one for class tokens and patches, at the teacher's width."""
    head = LayerNormMlp(student.dim, out_dim, out_dim, first_bias=True, std=0.01)
    return _heads(lambda _, out: head, out_dim, kinds, cls_dim, shared=True)


def radio_mlp(
    config: ProjectorConfig,
    student: StudentShape,
    out_dim: int,
    kinds: Sequence[TokenKind],
    cls_dim: int | None = None,
) -> HeadProjector:
    """RADIO's residual MLPs."""
    widths = (student.dim, config.hidden or 1024)
    residual = config.num_blocks or 1

    def make(_: TokenKind, out: int) -> nn.Module:
        return ResidualMlp(*widths, out, residual, config.pre_norm)

    return _heads(make, out_dim, kinds, cls_dim, config.shared)


def radio_attention(
    config: ProjectorConfig,
    student: StudentShape,
    out_dim: int,
    kinds: Sequence[TokenKind],
    cls_dim: int | None = None,
) -> HeadProjector:
    """RADIO's attention head for patches; class tokens get a residual MLP with one residual layer."""
    widths = (student.dim, config.hidden or 1024)

    def make(kind: TokenKind, out: int) -> nn.Module:
        if kind == "cls":
            return ResidualMlp(*widths, out, num_residual=1)
        return AttentionHead(*widths, out, config.num_blocks or 2, config.num_heads or RADIO_HEADS)

    return _heads(make, out_dim, kinds, cls_dim)


@dataclass(frozen=True, kw_only=True)
class Projector:
    """A row of `PROJECTORS`.

    Attributes:
        build: called with the config, the student's shape, the teacher's width and token kinds. It returns a module
            that maps a sequence of the student's tokens before the final norm, one item per block that it reads, to the
            teacher's tokens. If the teacher's class tokens have another width, it also gets that width, as `cls_dim`.
        options: the fields of `ProjectorConfig` that it reads; others are refused. With `blocks` among them it reads
            those student blocks (all by default), without it only the last one.
    """

    build: Callable[..., nn.Module]
    options: tuple[str, ...] = ()


PROJECTORS: dict[str, Projector] = {
    "transformer": Projector(build=TransformerProjector, options=("num_blocks", "num_heads", "layer_scale")),
    "ladder": Projector(build=LadderProjector, options=("hidden", "last_hidden", "blocks")),
    "mlp": Projector(build=MlpProjector, options=("hidden",)),
    "ln_mlp": Projector(build=ln_mlp, options=("hidden", "shared")),
    "siglino": Projector(build=siglino),
    "radio_mlp": Projector(build=radio_mlp, options=("hidden", "num_blocks", "pre_norm", "shared")),
    "radio_attention": Projector(build=radio_attention, options=("hidden", "num_blocks", "num_heads")),
}
"""All projectors of codistill."""


def build_projector(config: ProjectorConfig, student: StudentShape, target: TargetSpec) -> nn.Module:
    """Build the projector of a teacher.

    Raises:
        ConfigError: if the user's own projector does not support class tokens of another width than patches.
    """
    build = find_projector(config.kind).build
    wide = target.cls_dim if "cls" in target.projected and target.cls_dim != target.dim else None
    if wide is None:
        return build(config, student, target.dim, target.projected)
    if config.kind not in PROJECTORS and "cls_dim" not in inspect.signature(build).parameters:
        raise ConfigError(
            f"class tokens of {target.name!r} have {wide} channels, its patches {target.dim}: {config.kind} must take "
            "an argument cls_dim, the width of class tokens"
        )
    return build(config, student, target.dim, target.projected, cls_dim=wide)


def find_projector(kind: str) -> Projector:
    """Find a row of `PROJECTORS`, or `file.py:NAME`: a `Projector`, or a class or function that builds one.

    Raises:
        ConfigError: if the file has none.
    """
    if kind in PROJECTORS:
        return PROJECTORS[kind]
    found = own_object(kind, "projector", lambda found: isinstance(found, Projector) or callable(found))
    return found if isinstance(found, Projector) else Projector(build=found)

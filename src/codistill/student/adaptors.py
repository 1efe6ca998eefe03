"""Adaptor heads of EUPE, SigLino and RADIO: features of a token in, a teacher's features out.

* EUPE (arXiv 2603.22387): Linear, LayerNorm, GELU, Linear; no biases.
* SigLino (arXiv 2512.20157): the same at the teacher's width, with a bias in the first layer only.
* RADIO, second form: [LayerNorm, GELU,] Linear, n times x + Linear(GELU(LayerNorm(x))), LayerNorm, GELU, Linear. For
  patches, two transformer blocks come before it. RADIO's spectral reparameterization and pixel shuffle are left out.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from codistill.nn.blocks import NORM_EPS, Block, init_transformer_weights
from codistill.nn.linear import Linear
from codistill.types import Tokens

RADIO_LAYER_SCALE = 1e-5


class LayerNormMlp(nn.Module):
    """Linear, LayerNorm, GELU, Linear (EUPE, SigLino). Without the first bias, the input's scale has no effect.

    Args:
        dim, hidden, out: widths.
        first_bias: whether the first layer has a bias; the last one never has.
        std: standard deviation of the truncated-normal initial weights.
    """

    def __init__(
        self, dim: int, hidden: int, out: int, *, first_bias: bool = False, std: float = 0.02
    ) -> None:
        super().__init__()
        self.first = Linear(dim, hidden, bias=first_bias)
        self.norm = nn.LayerNorm(hidden, eps=NORM_EPS)
        self.activation = nn.GELU()
        self.last = Linear(hidden, out, bias=False)
        init_transformer_weights(self)
        for layer in (self.first, self.last):
            nn.init.trunc_normal_(layer.weight, std=std)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.activation(self.norm(self.first(x))))


class ResidualMlp(nn.Module):
    """RADIO's second form of head.

    Args:
        dim, hidden, out: widths.
        num_residual: number of residual layers.
        pre_norm: begin with LayerNorm and GELU.
    """

    def __init__(self, dim: int, hidden: int, out: int, num_residual: int, pre_norm: bool = False) -> None:
        super().__init__()
        self.before = _norm_gelu(dim) if pre_norm else nn.Identity()
        self.first = Linear(dim, hidden)
        self.residual = nn.ModuleList(
            nn.Sequential(*_norm_gelu(hidden), Linear(hidden, hidden)) for _ in range(num_residual)
        )
        self.after = _norm_gelu(hidden)
        self.last = Linear(hidden, out)
        init_transformer_weights(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(self.before(x))
        for layer in self.residual:
            x = x + layer(x)
        return self.last(self.after(x))


class AttentionHead(nn.Module):
    """RADIO's head for patches: pre-norm transformer blocks (LayerScale 1e-5), then a `ResidualMlp` without residuals.

    Args:
        dim, hidden, out: widths; `num_heads` must divide `dim`.
        num_blocks, num_heads: number of transformer blocks, and of their attention heads.
    """

    def __init__(self, dim: int, hidden: int, out: int, num_blocks: int, num_heads: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            Block(dim, num_heads, 4 * dim, layer_scale=RADIO_LAYER_SCALE) for _ in range(num_blocks)
        )
        init_transformer_weights(self)
        self.mlp = ResidualMlp(dim, hidden, out, num_residual=0)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, patch, channel) to (batch, patch, teacher channel)."""
        for block in self.blocks:
            x = block(x)
        return self.mlp(x)


def _norm_gelu(dim: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(dim, eps=NORM_EPS), nn.GELU())


BOTH = "both"
"""Name of a head that serves class tokens and patches."""


class HeadProjector(nn.Module):
    """A projector with one head per token kind, or one head for `both` (keys `{kind}.…`, `both.…`).

    Args:
        heads: by token kind, or under `both`; each maps (…, channel) to (…, teacher channel).
        kinds: token kinds to predict.
        out_dim: the teacher's width.
    """

    def __init__(self, heads: dict[str, nn.Module], kinds: tuple[str, ...], out_dim: int) -> None:
        super().__init__()
        self.kinds, self.out_dim = kinds, out_dim
        for name, head in heads.items():
            self.add_module(name, head)

    def head(self, kind: str) -> nn.Module:
        """The head of a token kind."""
        return self.get_submodule(BOTH if hasattr(self, BOTH) else kind)

    def output_layers(self, kind: str) -> tuple[str, ...]:
        """Names of the linear layers whose outputs add up to the tokens of a kind."""
        head = self.head(kind)
        name = BOTH if hasattr(self, BOTH) else kind
        return (f"{name}.mlp.last" if isinstance(head, AttentionHead) else f"{name}.last",)

    def forward(self, outputs: Sequence[Tokens]) -> Tokens:
        """Map the student's tokens to the teacher's: a sequence of one, the last block's before the final norm."""
        tokens = outputs[-1]
        if "cls" in self.kinds and tokens.cls is None:
            raise ValueError("the projector needs cls tokens, which the student does not have")
        cls = self.head("cls")(tokens.cls) if "cls" in self.kinds else None
        if "patch" in self.kinds:
            patches = self.head("patch")(tokens.patches)
        else:
            patches = tokens.patches.new_zeros(len(tokens), 0, self.out_dim)  # no patch targets
        return Tokens(patches=patches, grid=tokens.grid, cls=cls, normed=True)

"""Fold de-normalization into a projector's last layer: one module from images to a teacher's tokens.

Projectors predict standardized tokens y. The teacher's own tokens are Rᵀ (s · y) + m, where m, s and R are the mean,
the deviation (bounded from below) and PHI-S's rotation in its target statistics. A last layer W, b therefore becomes Rᵀ
diag(s) W, Rᵀ (s · b) + m. No step after the network is needed, and no statistics beside it.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from codistill.errors import ConfigError, unknown_name
from codistill.student.statistics import KindStatistics, TargetStatistics
from codistill.student.student import Student, for_teacher
from codistill.types import TokenKind, Tokens


class TeacherView(nn.Module):
    """A student in the role of one teacher: ImageNet-normalized images in, tokens in the teacher's own space out.

    The parts are copies; the student is not changed.

    Args:
        student: with target statistics.
        teacher: its name.

    Raises:
        ConfigError: for an unknown teacher, or a projector of the user's own, whose last layer is not known.
    """

    def __init__(self, student: Student, teacher: str) -> None:
        super().__init__()
        if teacher not in student.projectors:
            raise ConfigError(unknown_name("teacher", teacher, student.projectors))
        projector = student.projectors[teacher]
        if not hasattr(projector, "output_layers"):
            raise ConfigError(
                f"the projector of {teacher!r} ({student.projector_config.kind}) does not say which layer is its last; "
                "give it a method output_layers(kind), or use student.project(..., denormalize=True)"
            )
        target = next(target for target in student.targets if target.name == teacher)
        self.target, self.kinds = target, target.projected
        self.blocks = student.projector_blocks
        self.last_only = student.projector_blocks == (student.encoder.config.depth - 1,)
        self.encoder = copy.deepcopy(student.encoder)
        self.projector = copy.deepcopy(projector)
        self.outputs = nn.ModuleDict()
        self._fold(student.target_statistics[teacher])  # type: ignore[arg-type]
        self.eval().requires_grad_(False)

    def _fold(self, statistics: TargetStatistics) -> None:
        """Fold every last layer. One that serves several kinds becomes one layer per kind, after the projector."""
        of: Callable[[TokenKind], tuple[str, ...]] = self.projector.output_layers  # type: ignore[assignment]
        paths: dict[TokenKind, tuple[str, ...]] = {kind: of(kind) for kind in self.kinds}
        if len(paths) == 2 and paths["cls"] == paths["patch"]:
            (path,) = paths["patch"]
            last = self.projector.get_submodule(path)
            self.outputs.update({kind: _folded(last, statistics.of_kind(kind), True) for kind in self.kinds})
            self._put(path, nn.Identity())
            return
        for kind, of_kind in paths.items():
            for place, path in enumerate(of_kind):  # their outputs are added: the mean belongs to one of them
                last = self.projector.get_submodule(path)
                self._put(path, _folded(last, statistics.of_kind(kind), place == 0))

    def _put(self, path: str, layer: nn.Module) -> None:
        parent, _, name = path.rpartition(".")
        setattr(self.projector.get_submodule(parent), name, layer)

    def forward(self, images: Tensor) -> Tokens:
        """Predict the teacher's tokens, of the kinds that it teaches; no patches if it teaches class tokens only."""
        if self.last_only:
            outputs = [self.encoder(images, norm=False)]
        else:
            outputs = self.encoder.intermediate(images, self.blocks, norm=False)
        tokens: Tokens = self.projector([for_teacher(output, self.target) for output in outputs])
        cls, patches = (self._finished(tokens.of_kind(kind), kind) for kind in ("cls", "patch"))
        assert patches is not None
        return Tokens(patches=patches, grid=tokens.grid, cls=cls, normed=True)

    def _finished(self, x: Tensor | None, kind: TokenKind) -> Tensor | None:
        if kind not in self.kinds:
            return None if kind == "cls" or x is None else x[:, :0]
        return self.outputs[kind](x) if kind in self.outputs else x


@torch.no_grad()
def _folded(layer: nn.Module, statistics: KindStatistics, with_mean: bool) -> nn.Linear:
    """Return the layer combined with de-normalization (without the mean if asked), computed in fp64."""
    assert isinstance(layer, nn.Linear)
    scale = statistics.std.clamp(min=statistics.floor).double()  # (channel,)
    back = torch.diag(scale)
    if statistics.rotation is not None:
        back = statistics.rotation.double().T @ back
    new = nn.Linear(layer.in_features, layer.out_features).to(layer.weight)
    new.weight.copy_(back @ layer.weight.double())
    bias = torch.zeros_like(scale) if layer.bias is None else back @ layer.bias.double()
    new.bias.copy_(bias + statistics.mean.double() if with_mean else bias)
    return new

"""The student: images in, one prediction per teacher out. Released DUNE and UNIC files are loaded into it too.

Keys of the state dict: `encoder.*` (the vision transformer's own), `projectors.{teacher}.*`,
`target_statistics.{teacher}.{kind}.{mean,std[,rotation]}`, and `average.{encoder,projectors}.*` if a moving average of
the weights is kept.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from codistill.encoders.network import NetworkEncoder, running_statistics
from codistill.encoders.vit import ViTEncoder
from codistill.errors import ConfigError, unknown_name
from codistill.nn.rows import Rows, select_tokens
from codistill.nn.weight_noise import WeightNoise
from codistill.student.average import WeightAverage
from codistill.student.projectors import ProjectorConfig, StudentShape, build_projector
from codistill.student.statistics import TargetStatistics
from codistill.types import TargetSpec, TokenKind, Tokens
from codistill.weights.contents import STD_FLOOR

OWN, AVERAGE = "encoder.own", "encoder.average"
"""Keys in the result of `Student.forward` that no teacher can have as its name."""


class Student(nn.Module):
    """An encoder with one projector and one set of target statistics per teacher.

    Args:
        encoder: the encoder to train.
        targets: the teachers, in order.
        projector: kind of projector that is built for each teacher.
        rotated_targets: keep a rotation of the channels in the target statistics (PHI-S).
        std_floor: lower bound of the target statistics' deviations, in the division and in its inverse.
    """

    average: "WeightAverage | None"

    def __init__(
        self,
        encoder: ViTEncoder | NetworkEncoder,
        targets: Sequence[TargetSpec],
        projector: ProjectorConfig | None = None,
        rotated_targets: bool = False,
        std_floor: float = STD_FLOOR,
    ) -> None:
        super().__init__()
        names = [target.name for target in targets]
        if len(set(names)) != len(names):
            raise ConfigError(f"teacher names must differ; got {names}")
        bad = [name for name in names if not name or "." in name]
        if bad:
            raise ConfigError(f"teacher names must not be empty or hold a dot; got {bad}")
        self.encoder = encoder
        self.targets = tuple(targets)
        self.projector_config = projector or ProjectorConfig()
        config = encoder.config
        shape = StudentShape(dim=config.dim, depth=config.depth, num_heads=config.num_heads)
        self.projectors = nn.ModuleDict(
            {t.name: build_projector(self.projector_config, shape, t) for t in self.targets}
        )
        self.target_statistics = nn.ModuleDict(
            {
                t.name: TargetStatistics(
                    {kind: t.width(kind) for kind in t.kinds}, t.kinds if rotated_targets else (), std_floor
                )
                for t in self.targets
            }
        )
        self.std_floor = std_floor
        self.average = None
        self.noise: WeightNoise | None = None
        self.projector_blocks = self.projector_config.student_blocks(config.depth)
        for name in _unused(encoder):  # no gradient, no weight decay
            encoder.get_parameter(name).requires_grad_(False)

    def share_statistics(self, all_reduce_sum: Callable[[Tensor], Tensor], world_size: int) -> None:
        """Average the running statistics of the encoder's batch norms over ranks. Called after each forward pass."""
        kept = running_statistics(self.encoder) if world_size > 1 and self.training else []
        if not kept:
            return
        with torch.no_grad():
            mean = all_reduce_sum(torch.cat(kept)) / world_size
            for statistic, value in zip(kept, mean.split([len(one) for one in kept]), strict=True):
                statistic.copy_(value)

    def project(self, tokens: Tokens | Sequence[Tokens], teacher: str, denormalize: bool = False) -> Tokens:
        """Predict a teacher's tokens from the student's.

        Args:
            tokens: the student's tokens before the final norm; for a ladder, those of `projector_blocks`, in order.
            teacher: its name.
            denormalize: map the prediction back to the teacher's own space, so that the teacher's unchanged decoder can
                use it (projectors are trained on standardized targets).

        Returns:
            Tokens of the teacher's width. Without cls if the projector gives none, or if the teacher pools predicted
            patches (`TargetSpec.pooled`).

        Raises:
            ConfigError: for an unknown teacher.
            ValueError: for tokens after the final norm.
        """
        if teacher not in self.projectors:
            raise ConfigError(unknown_name("teacher", teacher, self.projectors))
        outputs = [tokens] if isinstance(tokens, Tokens) else list(tokens)
        if any(output.normed for output in outputs):
            raise ValueError("projectors were trained on un-normed tokens: use encoder(images, norm=False)")
        if len(outputs) != len(self.projector_blocks):
            raise ValueError(
                f"this projector reads the outputs of blocks {self.projector_blocks}; got {len(outputs)} "
                "set(s) of tokens. Use encoder.intermediate(images, student.projector_blocks, norm=False)."
            )
        target, projector = self._target(teacher), self.projectors[teacher]
        like = outputs[0].patches
        dtype = next((p.dtype for p in projector.parameters()), like.dtype)
        if like.dtype != dtype and not torch.is_autocast_enabled(like.device.type):
            outputs = [output.to(dtype) for output in outputs]
        projected: Tokens = projector([for_teacher(output, target) for output in outputs])
        if target.pooled:
            projected = replace(projected, cls=None)
        return self.denormalize(projected, teacher) if denormalize else projected

    def _target(self, teacher: str) -> TargetSpec:
        return next(target for target in self.targets if target.name == teacher)

    def denormalize(self, projected: Tokens, teacher: str) -> Tokens:
        """Map standardized tokens of a teacher to the teacher's own space; no patches if it teaches none."""
        statistics: TargetStatistics = self.target_statistics[teacher]  # type: ignore[assignment]

        def back(x: Tensor, kind: TokenKind) -> Tensor:
            return statistics.of_kind(kind).denormalize(x)

        patches = projected.patches
        return Tokens(
            patches=back(patches, "patch") if "patch" in statistics else patches[:, :0].float(),
            grid=projected.grid,
            cls=None if projected.cls is None else back(projected.cls, "cls"),
            normed=True,
        )

    def disturb_weights(self, sigma: float) -> None:
        """Add noise to the encoder's weights in training (DAMP), once `draw_noise` is called.

        If a moving average is kept, call `keep_average` first.
        """
        self.noise = WeightNoise(self.encoder, sigma)

    def draw_noise(self, *key: int) -> None:
        """Draw the weights' noise for the next forward pass, if noise is used, as a function of a key."""
        if self.noise is not None:
            self.noise.draw(*key)

    def keep_average(self, decay: float) -> None:
        """Start a moving average of encoder and projectors, which `update_average` updates."""
        self.average = WeightAverage(
            nn.ModuleDict({"encoder": self.encoder, "projectors": self.projectors}), decay
        )

    def update_average(self, skipped: Tensor | None = None) -> None:
        """Update the moving average, if one is kept, from the current weights; `skipped`: see `WeightAverage`."""
        if self.average is not None:
            present = nn.ModuleDict({"encoder": self.encoder, "projectors": self.projectors})
            self.average.follow(present, skipped)

    def forward(
        self, images: Tensor, rows: Mapping[str, Rows] | None = None, average_images: Tensor | None = None
    ) -> dict[str, Tokens]:
        """Predict the standardized tokens of every teacher.

        Args:
            images: (batch, 3, row, column), ImageNet-normalized.
            rows: for each teacher, the images that it teaches; other images do not enter its projector. None: all
                images.
            average_images: images for the encoder's moving average. The result then also contains tokens of the last
                block before the final norm: the encoder's under `OWN`, and the average's, without a gradient, under
                `AVERAGE`.
        """
        last = self.encoder.config.depth - 1
        if self.projector_blocks == (last,):
            outputs = [own := self.encoder(images, norm=False)]
        else:
            blocks = (*self.projector_blocks, last)[: len({*self.projector_blocks, last})]
            outputs = self.encoder.intermediate(images, blocks, norm=False)
            own, outputs = outputs[-1], outputs[: len(self.projector_blocks)]
        predictions: dict[str, Tokens] = {}
        for name, projector in self.projectors.items():
            seen = [for_teacher(output, self._target(name)) for output in outputs]
            predictions[name] = projector([select_tokens(one, rows[name] if rows else None) for one in seen])
        if average_images is not None:
            assert self.average is not None
            with torch.no_grad():
                predictions[AVERAGE] = self.average["encoder"](average_images, norm=False)
            predictions[OWN] = own
        return predictions


def for_teacher(tokens: Tokens, target: TargetSpec) -> Tokens:
    """Return the student's tokens with the class token that belongs to a teacher, as its projector reads them.

    Raises:
        ValueError: if the student has no such token.
    """
    if target.token == 0 or "cls" not in target.projected:
        return tokens
    if tokens.registers is None or tokens.registers.shape[1] < target.token:
        raise ValueError(
            f"the class token of {target.name!r} is register {target.token - 1}, which is missing"
        )
    return replace(tokens, cls=tokens.registers[:, target.token - 1])


def _unused(encoder: ViTEncoder | NetworkEncoder) -> list[str]:
    """Names of parameters that the tokens before the final norm do not depend on."""
    if isinstance(encoder, NetworkEncoder):
        return encoder.unused_parameters()
    return [n for n, _ in encoder.named_parameters() if n == "mask_token" or n.startswith("norm.")]

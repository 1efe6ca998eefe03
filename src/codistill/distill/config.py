"""Options of the distillation loss: everything but the networks."""

from dataclasses import dataclass, field
from typing import Literal

from codistill.distill.dropping import DroppingConfig
from codistill.distill.losses import LossConfig
from codistill.distill.mesa import MesaConfig
from codistill.distill.sharing import SharingConfig
from codistill.distill.targets import TargetConfig
from codistill.errors import ConfigError
from codistill.teachers.views import ShiftConfig


@dataclass(frozen=True, kw_only=True)
class DistillConfig:
    """Options of the distillation loss: everything but the networks.

    Attributes:
        sharing, dropping, loss, targets: see the classes.
        alignment: grid on which patches are compared if a teacher has an image size of its own. `student`: the targets
            are resized bilinearly to the student's grid. `larger`: the smaller of both grids is resized bicubically to
            the larger (EUPE).
        shift: views of the teachers that are shifted against the student's.
        mesa: agreement of the student with its moving average.
        loss_normalizer: `rank` divides each rank's loss by the sum of that rank's own coefficients (published); with
            gradient accumulation, each part by the sum of its own. `global` divides by the sum over all ranks and
            parts: two processes, or two parts, then give the same result as one on the same global batch.
    """

    sharing: SharingConfig = field(default_factory=SharingConfig)
    dropping: DroppingConfig = field(default_factory=DroppingConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    targets: TargetConfig = field(default_factory=TargetConfig)
    alignment: Literal["student", "larger"] = "student"
    shift: ShiftConfig = field(default_factory=ShiftConfig)
    mesa: MesaConfig = field(default_factory=MesaConfig)
    loss_normalizer: Literal["rank", "global"] = "rank"

    def __post_init__(self) -> None:
        if self.loss_normalizer not in ("rank", "global"):
            raise ConfigError(f"loss_normalizer must be rank or global; got {self.loss_normalizer!r}")
        if self.alignment not in ("student", "larger"):
            raise ConfigError(f"distill.alignment must be student or larger; got {self.alignment!r}")

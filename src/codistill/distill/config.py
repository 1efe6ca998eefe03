"""The options of distillation's loss: everything that is not a network."""

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
    """Everything about the loss that is not a network.

    Attributes:
        sharing, dropping, loss, targets: see the classes.
        alignment: grid on which patches are compared, of teachers with image sizes of their own: the `student`'s
            (targets are resized bilinearly), or the `larger` of both (the smaller one is resized bicubically, EUPE).
        shift: shifted views of the teachers.
        mesa: agreement with the student's moving average.
        loss_normalizer: `rank` divides by the rank's own sum of coefficients (published), that of each part of its
            images where gradients are accumulated; `global` by that of all ranks and parts: then two processes, or
            two parts, equal one on the same global batch.
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

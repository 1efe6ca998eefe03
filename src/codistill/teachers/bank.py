"""The teacher bank: a batch and each teacher's rows in, raw targets out.

Teachers run one after the other in inference mode, only on the rows that data sharing assigns to them. If several
teachers use the same encoder in the same way on all images, it runs once.
"""

from collections.abc import Hashable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from codistill.errors import ConfigError
from codistill.nn.precision import full_precision
from codistill.nn.rows import Rows, select_rows
from codistill.teachers.target_cache import TargetCache
from codistill.teachers.teacher import Teacher
from codistill.teachers.views import StepViews
from codistill.types import TargetSpec, Tokens


class TeacherBank(nn.Module):
    """Frozen teachers by name, in order.

    Args:
        teachers: at least one; names must differ.
        student_patch: patch size of the student, to whose grid every teacher's grid is matched.
        cache: keeps targets on disk, and gives them again for the same images. None: all are computed.
    """

    def __init__(
        self, teachers: Sequence[Teacher], student_patch: int, cache: TargetCache | None = None
    ) -> None:
        super().__init__()
        names = [teacher.config.name for teacher in teachers]
        if not names:
            raise ConfigError("distillation needs at least one teacher: add --teacher NAME,ENCODER")
        if len(set(names)) != len(names):
            raise ConfigError(f"teacher names must differ; got {', '.join(names)}")
        self.teachers = nn.ModuleDict(dict(zip(names, teachers, strict=True)))
        self.student_patch = student_patch
        self.cache = cache

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.teachers)

    @property
    def domains(self) -> dict[str, str]:
        return {name: self[name].config.domain for name in self.names}

    @property
    def weights(self) -> dict[str, float]:
        """Factor of each teacher's losses."""
        return {name: self[name].config.weight for name in self.names}

    def __getitem__(self, name: str) -> Teacher:
        return self.teachers[name]  # type: ignore[return-value]

    def target_specs(self) -> tuple[TargetSpec, ...]:
        """Name, width and token kinds of each teacher, for the student."""
        return tuple(
            TargetSpec(
                name=name,
                dim=self[name].width("patch" if "patch" in self[name].kinds else "cls"),
                kinds=self[name].kinds,
                cls_dim=self[name].cls_dim,
                pooled=self[name].config.pool_predictions,
            )
            for name in self.names
        )

    def pool(self, name: str, patches: Tensor, grid: tuple[int, int]) -> Tensor:
        """A teacher's summary of patches (batch, patch, channel) in its own space; gradients pass through."""
        return self[name].encoder.pool(patches, grid)

    def describe(self) -> list[dict[str, Any]]:
        """Describe the teachers and their licences, for exports and `codistill inspect`."""
        return [
            {
                "name": name,
                "encoder": self[name].encoder.spec.name,
                "dim": self[name].width("patch" if "patch" in self[name].kinds else "cls"),
                "patch_size": self[name].encoder.spec.patch_size,
                "kinds": list(self[name].kinds),
                "domain": self[name].config.domain,
                "licence": self[name].encoder.spec.licence,
                **({} if self[name].cls_dim is None else {"cls_dim": self[name].cls_dim}),
                **({"pooled": True} if self[name].config.pool_predictions else {}),
            }
            for name in self.names
        ]

    @torch.inference_mode()
    def forward(
        self, images: Tensor, rows: Mapping[str, Rows], views: StepViews | None = None
    ) -> dict[str, Tokens]:
        """Compute each teacher's raw targets on its rows of ImageNet-normalized images (batch, 3, row, column).

        Without `views` all teachers see the student's images, and their patches are on the student's grid.
        """
        targets: dict[str, Tokens] = {}
        known: dict[Hashable, Tokens] = {}
        for name in self.names:
            teacher = self[name]
            same = None if rows.get(name) is not None or views is not None else teacher.sees
            if same in known:
                targets[name] = known[same]
                continue
            dtype = teacher.autocast_dtype
            chosen = select_rows(images, rows.get(name))
            if dtype is None:
                targets[name] = self._tokens(teacher, chosen, views)
            else:
                plain = dtype == torch.float32
                with full_precision(images) if plain else torch.autocast(images.device.type, dtype=dtype):
                    targets[name] = self._tokens(teacher, chosen, views)
            if same is not None:
                known[same] = targets[name]
        return targets

    def _tokens(self, teacher: Teacher, images: Tensor, views: StepViews | None) -> Tokens:
        compute = partial(teacher, images, self.student_patch, views)
        if self.cache is None:
            return compute()
        return self.cache.tokens(teacher, images, self.student_patch, views, compute)

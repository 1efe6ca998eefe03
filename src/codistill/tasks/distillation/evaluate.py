"""Compute the cosine similarity between predicted and true teacher tokens, per held-out image.

The baseline for a run's student is ridge regression from raw patch pixels and position, fitted on the run's own
training images (augmented as in training). Another run, e.g. with a frozen random encoder, is evaluated by the same
code. Similarities are computed between standardized tokens, where predicting the mean token scores 0.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from codistill.data import SourceConfig
from codistill.distill.targets import TargetConfig, TargetStandardizer
from codistill.errors import ConfigError, unknown_name
from codistill.student.student import Student
from codistill.tasks.distillation.ridge import fit_ridge, patch_features
from codistill.tasks.shared.groups import Groups
from codistill.teachers.bank import TeacherBank
from codistill.types import Batch, TokenKind


@dataclass(frozen=True)
class PerImage:
    """Similarities of one method on held-out images: value, source and name of each image."""

    values: np.ndarray
    sources: tuple[str, ...]
    names: tuple[str, ...]

    def of_source(self, source: str) -> np.ndarray:
        """The values for one source's images."""
        return self.values[[name == source for name in self.sources]]

    def groups(self, sources: Sequence[SourceConfig], source: str | None = None) -> Groups:
        """Groups of all images, or of one source's, by the rules that the sources define.

        Raises:
            DataError: if a source's rule does not fit one of its images.
        """
        rules = {one.name: one for one in sources}
        chosen = [
            (of, name) for of, name in zip(self.sources, self.names, strict=True) if source in (None, of)
        ]
        used = sorted({of for of, _ in chosen})
        said: dict[str, list[str]] = {}
        for of in used:
            said.setdefault(rules[of].groups or "each image alone, no rule", []).append(of)
        kind = "; ".join(f"{', '.join(names)}: {rule}" for rule, names in said.items())
        return Groups(tuple(rules[of].group_of(name) for of, name in chosen), kind)


@dataclass(frozen=True)
class TargetReader:
    """Computes the standardized patch targets of one teacher for batches of a run."""

    bank: TeacherBank
    teacher: str
    standardizer: TargetStandardizer

    def __call__(self, batch: Batch) -> Tensor:
        """Targets (image, patch, channel), standardized by the run's own statistics."""
        raw = {self.teacher: self.bank(batch.images, {})[self.teacher]}
        return self.standardizer.running(raw)[self.teacher].patches


def target_reader(student: Student, bank: TeacherBank, teacher: str) -> TargetReader:
    """Make a `TargetReader` for one of a student's teachers.

    Raises:
        ConfigError: if the teacher is unknown, has no patch targets, or is another encoder under the same name.
    """
    kinds: dict[str, tuple[TokenKind, ...]] = {target.name: target.kinds for target in student.targets}
    if teacher not in kinds:
        raise ConfigError(unknown_name("teacher", teacher, kinds))
    if "patch" not in kinds[teacher]:
        raise ConfigError(f"teacher {teacher!r} has no patch targets; it teaches {kinds[teacher]}")
    learnt = next(target.dim for target in student.targets if target.name == teacher)
    if learnt != bank[teacher].width("patch"):
        raise ConfigError(
            f"the student learnt from a teacher {teacher!r} of {learnt} channels, and this one has "
            f"{bank[teacher].width('patch')}: they are two teachers of one name. Score a student "
            "beside others of the same teachers"
        )
    alone = TeacherBank([bank[teacher]], bank.student_patch)
    targets = TargetConfig(std_floor=student.std_floor)
    return TargetReader(alone, teacher, TargetStandardizer(targets, student.target_statistics))


@torch.inference_mode()
def student_similarity(student: Student, reader: TargetReader, batches: Iterable[Batch]) -> PerImage:
    """Per held-out image, the mean over patches of cos(student's projected token, teacher's token)."""

    def values() -> Iterator[tuple[Batch, Tensor]]:
        for batch in batches:
            outputs = student.encoder.intermediate(batch.images, student.projector_blocks, norm=False)
            predicted = student.project(outputs, reader.teacher).patches
            yield batch, cosine_similarity(predicted.float(), reader(batch), dim=-1).mean(1)

    return _collect(values())


@torch.inference_mode()
def ridge_similarity(
    reader: TargetReader, training: Iterable[Batch], batches: Iterable[Batch], patch_size: int
) -> tuple[PerImage, float]:
    """The same for ridge regression from patch pixels and position; also returns the chosen penalty."""
    parts = [(patch_features(b.images, patch_size), reader(b).flatten(0, 1)) for b in training]
    weights, penalty = fit_ridge(parts)

    def values() -> Iterator[tuple[Batch, Tensor]]:
        for batch in batches:
            predicted = (patch_features(batch.images, patch_size).double() @ weights).float()
            target = reader(batch)
            yield batch, cosine_similarity(predicted.view_as(target), target, dim=-1).mean(1)

    return _collect(values()), penalty


def _collect(parts: Iterator[tuple[Batch, Tensor]]) -> PerImage:
    values, sources, names = [], [], []
    for batch, similarity in parts:
        values.append(similarity.cpu().numpy())
        sources += batch.sources
        names += batch.names
    return PerImage(np.concatenate(values), tuple(sources), tuple(names))

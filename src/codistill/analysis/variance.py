"""Cumulative explained variance of features: how many directions they use (DUNE, Fig. 4).

It is computed for each teacher's own patch tokens (solid in the figure) and for the student's predictions of them
(dashed), in the same standardized space. Tokens are processed as a stream: memory does not grow with the number of
images.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from codistill.analysis.pca import principal_axes
from codistill.distill.targets import TargetConfig, TargetStandardizer
from codistill.nn.moments import Moments
from codistill.student.student import Student
from codistill.teachers.bank import TeacherBank
from codistill.types import Batch


@dataclass(frozen=True)
class ExplainedVariance:
    """Cumulative share of the variance by number of components, (channel,), in [0, 1].

    Attributes:
        teacher, student: for the teacher's standardized patch tokens, and for the student's predictions of them.
        tokens: number of tokens.
    """

    teacher: np.ndarray
    student: np.ndarray
    tokens: int

    def components_for(self, share: float) -> tuple[int, int]:
        """Number of components needed for a share of the variance: the teacher's, and the student's."""
        return tuple(int(np.searchsorted(curve, share)) + 1 for curve in (self.teacher, self.student))  # type: ignore[return-value]


@torch.inference_mode()
def explained_variance(
    student: Student, bank: TeacherBank, batches: Iterable[Batch]
) -> dict[str, ExplainedVariance]:
    """Compute it for each teacher with patch targets, over all images of the batches."""
    targets = TargetConfig(std_floor=student.std_floor)
    standardizer = TargetStandardizer(targets, student.target_statistics)
    names = [target.name for target in student.targets if "patch" in target.kinds]
    dims = {target.name: target.dim for target in student.targets}
    sums = {name: (Moments(dims[name]), Moments(dims[name])) for name in names}
    for batch in batches:
        targets = standardizer.running(bank(batch.images, {}))
        outputs = student.encoder.intermediate(batch.images, student.projector_blocks, norm=False)
        for name in names:
            sums[name][0].add(targets[name].patches.cpu().double())
            sums[name][1].add(student.project(outputs, name).patches.cpu().double())
    return {name: _result(*pair) for name, pair in sums.items()}


def _result(teacher: Moments, student: Moments) -> ExplainedVariance:
    curves = [
        principal_axes(moments, torch.zeros(1, len(moments.mean()))).explained().numpy()
        for moments in (teacher, student)
    ]
    return ExplainedVariance(curves[0], curves[1], int(teacher.count))

"""Summaries by a teacher's own pool (SigLino, arXiv 2512.20157): predicted patches in, its pool's summary of them out.

The patches that the student predicts are brought back to the teacher's space by the statistics that its targets were
standardized with, pass the teacher's frozen pool, and the result is standardized as its summaries are. So the loss of
class tokens compares what the teacher would say of the student's patches with what it says of its own; its gradient
reaches the student through the pool. No class token of the student takes part.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace

from codistill.distill.targets import Scales, TargetStandardizer
from codistill.student.statistics import denormalize, standardize
from codistill.teachers.pools import Pools
from codistill.types import Tokens


def pool_predictions(
    predictions: Mapping[str, Tokens],
    teachers: Collection[str],
    pools: Pools,
    standardizer: TargetStandardizer,
    scales: Scales,
) -> dict[str, Tokens]:
    """Predictions whose class tokens, of some teachers, are the pool's of the predicted patches.

    Args:
        predictions: standardized, by teacher and others.
        teachers: whose pools to use.
        pools: `pool(name, patches, grid)`, patches in the teacher's space.
        standardizer: of the run.
        scales: means and deviations that the targets were standardized with.
    """
    pooled = dict(predictions)
    floor = standardizer.config.std_floor
    for name in teachers:
        tokens = predictions[name]
        rotations = {kind: standardizer.rotation(name, kind) for kind in ("cls", "patch")}
        patches = denormalize(tokens.patches, *scales[name, "patch"], floor, rotations["patch"])
        summary = pools.pool(name, patches, tokens.grid)
        cls = standardize(summary, *scales[name, "cls"], floor, rotations["cls"])
        pooled[name] = replace(tokens, cls=cls)
    return pooled

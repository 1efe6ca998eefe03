"""Class-token predictions by a teacher's own pool (SigLino, arXiv 2512.20157): predicted patches in, their summary out.

The patches that the student predicts are brought back to the teacher's space with the statistics that standardized its
targets. They pass the teacher's frozen pool, and the result is standardized like the teacher's own summaries. The loss
of class tokens then compares the pool's summary of the student's patches with its summary of the teacher's patches. Its
gradient reaches the student through the pool. No class token of the student takes part.
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
    """Return predictions in which some teachers' class tokens are the pool's summary of the predicted patches.

    Args:
        predictions: standardized, by teacher; other entries are passed on.
        teachers: names of the teachers whose pools are used.
        pools: gives `pool(name, patches, grid)`, with patches in the teacher's space.
        standardizer: of the run.
        scales: means and deviations with which the targets were standardized.
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

"""Scores of tables that are no means: medians where most samples have no estimate."""

import numpy as np

from codistill.metrics.interval import medians
from codistill.tasks.evaluation import verdict_of
from codistill.tasks.shared.groups import alone
from codistill.tasks.shared.score_table import ScoreTable
from codistill.tasks.shared.statistics import RepeatedOf

PAIRS = 200
MEDIAN = RepeatedOf(("error",), lambda values, times: medians(values["error"], times), resamples=400)


def table(failed: int, seed: int) -> ScoreTable:
    """Errors of pairs, infinite for those without an estimate."""
    rng = np.random.default_rng(seed)
    errors = rng.random(PAIRS)
    errors[rng.permutation(PAIRS)[:failed]] = np.inf
    names = tuple(map(str, range(PAIRS)))
    return ScoreTable(names=names, groups=alone(names), values={"error": errors})


def test_two_infinite_medians_are_equal_not_better() -> None:
    """In most resamples both are infinite: those where one is not must not decide alone."""
    found = MEDIAN.difference(table(104, 0), table(150, 1))
    assert found.mean == 0.0 and found.high == 0.0
    assert verdict_of(found.low, found.high, higher=False) == "not apart"


def test_a_finite_median_is_better_than_an_infinite_one() -> None:
    found = MEDIAN.difference(table(20, 0), table(180, 1))
    assert found.mean == found.low == found.high == -np.inf
    assert verdict_of(found.low, found.high, higher=False) == "better"

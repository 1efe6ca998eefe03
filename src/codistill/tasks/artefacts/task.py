"""Artefacts as a task: the share of unusually long tokens, and the share of variance that the position alone explains.

Definitions and sources: `analysis/artefacts.py`, `metrics/token_lengths.py`, `metrics/fixed_pattern.py`.

Long tokens are counted in each picture, and the score is the mean over pictures. The length from which on a token is
long is computed once from all tokens of all pictures. It is not computed again in bootstrap resamples: the median of
so many tokens hardly changes.

The fixed pattern is what all pictures have in common, so its score is not a mean over pictures. It is a ratio of two
means of numbers that each picture has; one of these numbers is a pseudo-value of a mean over pairs of pictures. Groups
are therefore resampled as for every other score. This is exact for the score itself, and correct to first order in the
number of groups for its confidence interval. (Resamples of the pictures themselves would contain copies, and two copies
have everything in common.) The estimate is unbiased, so it may lie below 0 if there is no pattern. Content that
pictures share counts as well, for example a sky above the ground. The share therefore serves to compare encoders on the
same pictures; its absolute value means little.
"""

from functools import partial

import numpy as np

from codistill.tasks.artefacts.layouts import LAYOUTS
from codistill.tasks.artefacts.score import STATES, ArtefactsTest, load, score
from codistill.tasks.layout import TaskData
from codistill.tasks.shared.pictures import check_pictures
from codistill.tasks.shared.score_table import ScoreTable
from codistill.tasks.shared.statistics import MeanOf, SumsOf
from codistill.tasks.task import Column, Summary, Task

WHEN = {False: "before the final norm", True: "after it"}


def _check(data: TaskData, training: bool) -> list[str]:
    check_pictures(data.samples)
    return []


def _parts(table: ScoreTable, key: str) -> np.ndarray:
    return table.values[key]


def _share(sums: np.ndarray) -> np.ndarray:
    return 100.0 * sums[:, 0] / sums[:, 1]


def _is_known(sums: np.ndarray) -> bool:
    return bool(np.isfinite(sums).all() and sums[1] > 0)


def _columns(norm: bool) -> dict[str, Column]:
    end, when = STATES[norm], WHEN[norm]
    return {
        f"long{end}": Column(
            title=f"long tokens {when} (%)",
            statistic=MeanOf(f"long{end}"),
            digits=2,
            headline=not norm,
            higher=False,
        ),
        f"pattern{end}": Column(
            title=f"fixed pattern {when} (% of the variance)",
            statistic=SumsOf(partial(_parts, key=f"pattern{end}"), _share, _is_known),
            digits=2,
            headline=not norm,
            higher=False,
        ),
    }


def _summarize(table: ScoreTable, data: TaskData, test: ArtefactsTest) -> Summary:
    facts, lines = {}, []
    for norm, end in STATES.items():
        start, longest = (float(table.values[f"{name}{end}"].max()) for name in ("long_from", "longest"))
        if np.isnan(start):
            lines.append(f"{WHEN[norm]}: the encoder gives no tokens there")
            continue
        facts[f"lengths{end}"] = {"long_from": round(start, 4), "longest": round(longest, 4)}
        lines.append(f"{WHEN[norm]}: tokens are long from {start:.4g} on, the longest has {longest:.4g}")
    return Summary(facts=facts, lines=tuple(lines))


TASK = Task(
    name="artefacts",
    about="patch tokens of unusual length and patterns at the same place in every picture: nothing is fitted",
    layouts=LAYOUTS,
    check=_check,
    load=load,
    test=ArtefactsTest,
    score=score,
    columns={**_columns(norm=False), **_columns(norm=True)},
    unit="per cent of tokens (long), per cent of the tokens' variance (pattern)",
    samples="pictures",
    shown=(),
    summarize=_summarize,
    features=("encoder",),
)

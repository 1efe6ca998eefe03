"""Artefacts as a task: shares of unusually long tokens, and of the variance that the position alone explains.

Definitions and sources: `analysis/artefacts.py`, `metrics/token_lengths.py`, `metrics/fixed_pattern.py`. Long tokens
are a number of each picture, and their score a mean. The length from which on a token is long follows from all tokens
of all pictures, and is no part of the resampling: the median of so many hardly moves.

A fixed pattern is no mean over pictures: it is what they have in common. Its share is a ratio of two means of numbers
that each picture has, one of them a pseudo-value of a mean over pairs; so groups are resampled as for every other
score, exactly for the score itself and to first order in the number of groups for its interval. (Resamples of the
pictures themselves would hold copies, and two copies have everything in common.) The estimate has no bias, so that it
may lie below 0 where there is no pattern. What pictures have in common counts as well, a sky above the ground say: the
share tells encoders apart on the same pictures, and is nothing by itself.
"""

from functools import partial

import numpy as np

from codistill.tasks.artefacts.layouts import LAYOUTS
from codistill.tasks.artefacts.score import STATES, ArtefactsTest, load, score
from codistill.tasks.shared.pictures import check_pictures
from codistill.tasks.shared.score_table import ScoreTable
from codistill.tasks.shared.statistics import MeanOf, SumsOf
from codistill.tasks.task import Column, Summary, Task, TaskData

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

"""Depth as a task: errors per image, and depth maps with a colour bar in metres. See `tasks/task.py`."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from codistill.imaging.colours import depth_picture, overlay
from codistill.imaging.legends import depth_legend
from codistill.imaging.pictures import below
from codistill.metrics.depth import DEPTH_METRICS, depth_scores, valid_depth
from codistill.tasks.dense.depth.data import LAYOUTS, DepthData
from codistill.tasks.dense.depth.fit import HEAD, RECIPES, DepthFit, check_range
from codistill.tasks.dense.depth.model import DepthEstimator, DepthOutput, DepthTest, load_depth_estimator
from codistill.tasks.dense.depth.sight import SIGHT, DepthAnswer
from codistill.tasks.dense.fit import fit_dense
from codistill.tasks.dense.scoring import one_by_one, save_map, without_truth
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.data import DenseSample, check_samples
from codistill.tasks.shared.score_table import ScoreTable
from codistill.tasks.shared.statistics import MeanOf
from codistill.tasks.task import Column, ImageFile, Outcome, Predicted, Prediction, Summary, Task

BAR_WIDTH = 240
"""Smallest width of the colour bar in pixels, for small images."""


def _check(data: DepthData, training: bool) -> list[str]:
    notes = check_samples(data)
    check_range(data)
    return notes


def _score(model: DepthEstimator, data: DepthData, test: DepthTest, runtime: Runtime) -> Iterator[Outcome]:
    limits = data.protocol

    def outcome(sample: DenseSample, predicted: np.ndarray) -> Outcome:
        truth = torch.from_numpy(sample.target)[None]
        mask = valid_depth(truth, limits.nearest, limits.farthest, limits.eval_crop)
        scores = depth_scores(torch.from_numpy(predicted)[None], truth, mask)[0].numpy()
        return Outcome(
            sample.name,
            {"scores": scores},
            draw=lambda: [sample.image, *_pictures(sample.target, predicted, limits.farthest)],
        )

    return one_by_one(model, data.samples, outcome, runtime.workers)


def _pictures(truth: np.ndarray, predicted: np.ndarray, farthest: float) -> list[np.ndarray]:
    """Ground truth and prediction on one colour scale, from the 1st to the 99th percentile of the truth."""
    known = truth[(truth > 0) & (truth < farthest)]
    near, far = (np.percentile(known, [1, 99])) if known.size else (0.1, farthest)
    limits = (max(float(near), 1e-3), max(float(far), float(near) * 1.01, 2e-3))
    return [depth_picture(truth, *limits), depth_picture(predicted, *limits)]


def _summarize(table: ScoreTable, data: DepthData, test: DepthTest) -> Summary:
    found, limits = without_truth(table, data, test), data.protocol
    scored = {"scored_metres": [limits.nearest, limits.farthest], "scored_crop": limits.eval_crop}
    return replace(found, facts={**found.facts, **scored}, legend=depth_legend)


def _predict(
    model: DepthEstimator, pixels: np.ndarray, image: ImageFile, options: DepthOutput, out: Path
) -> Predicted:
    answer = DepthAnswer(model(pixels))
    shown = answer.draw(pixels)
    if options.overlay:
        shown = overlay(pixels, shown)
    shown = below(shown, answer.legend(max(pixels.shape[1], BAR_WIDTH)))
    files = save_map(shown, answer.metres, image, out)
    return Predicted(f"{answer.text()} (1st to 99th percentile)", files, dict(answer.facts()))


TITLES = {
    "rmse": "RMSE (m)",
    "abs_rel": "abs. rel.",
    "a1": "δ < 1.25",
    "a2": "δ < 1.25²",
    "a3": "δ < 1.25³",
    "log10": "log 10",
    "rmse_log": "RMSE log",
    "sq_rel": "sq. rel. (m)",
    "silog": "SILog",
}
HEADLINES = ("rmse", "a1", "abs_rel")
"""Scores that a table shows first; RMSE, in metres, is the task's main score."""

TASK = Task(
    name="depth",
    about="depth of every pixel in metres: a linear head",
    layouts=LAYOUTS,
    config=DepthFit,
    recipes=RECIPES,
    fit=partial(fit_dense, HEAD),
    check=_check,
    load=load_depth_estimator,
    test=DepthTest,
    score=_score,
    columns={
        name: Column(
            title=TITLES[name],
            statistic=MeanOf("scores", DEPTH_METRICS.index(name)),
            headline=name in HEADLINES,
            higher=name in ("a1", "a2", "a3"),
        )
        for name in (*HEADLINES, *(name for name in DEPTH_METRICS if name not in HEADLINES))
    },
    unit="metres (rmse, sq_rel), shares (a1, a2, a3), 100 log (silog); means over images",
    summarize=_summarize,
    sight=SIGHT,
    predict=Prediction(
        options=DepthOutput,
        run=_predict,
        writes="DIR/NAME.depth.png (colours and their metres), DIR/NAME.depth.npy (fp32)",
    ),
)

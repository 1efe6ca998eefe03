"""Surface normals as a task: angular errors per image, and normal maps in the usual colours. See `tasks/task.py`."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from codistill.imaging.colours import overlay
from codistill.imaging.normals import normals_picture
from codistill.metrics.normals import NORMAL_METRICS, normal_scores
from codistill.tasks.dense.fit import fit_dense
from codistill.tasks.dense.normals.data import LAYOUTS, NormalsData
from codistill.tasks.dense.normals.fit import HEAD, RECIPES, NormalsFit
from codistill.tasks.dense.normals.model import NormalsEstimator, NormalsTest, load_normals
from codistill.tasks.dense.normals.sight import SIGHT
from codistill.tasks.dense.scoring import one_by_one, save_map, without_truth
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.data import DenseSample
from codistill.tasks.shared.statistics import MeanOf
from codistill.tasks.task import Column, ImageFile, Outcome, Predicted, Prediction, Task


@dataclass(frozen=True, kw_only=True)
class NormalsOutput(NormalsTest):
    """How normals of a user's own images are shown; see `NormalsTest`.

    Attributes:
        overlay: lay the colours over the image.
    """

    overlay: bool = False


def _score(
    model: NormalsEstimator, data: NormalsData, test: NormalsTest, runtime: Runtime
) -> Iterator[Outcome]:
    def outcome(sample: DenseSample, predicted: np.ndarray) -> Outcome:
        scores = normal_scores(torch.from_numpy(predicted), torch.from_numpy(sample.target))
        return Outcome(
            sample.name,
            {"scores": scores.numpy()},
            draw=lambda: [sample.image, normals_picture(sample.target), normals_picture(predicted)],
        )

    return one_by_one(model, data.samples, outcome, runtime.workers)


def _predict(
    model: NormalsEstimator, pixels: np.ndarray, image: ImageFile, options: NormalsOutput, out: Path
) -> Predicted:
    normals = model(pixels)
    shown = normals_picture(normals)
    files = save_map(overlay(pixels, shown) if options.overlay else shown, normals, image, out)
    tilt = float(np.degrees(np.arccos(np.clip(-normals[..., 2], -1, 1)).mean()))
    return Predicted(f"turned from the camera by {tilt:.0f}° in the mean", files, {"tilt": round(tilt, 3)})


TITLES = {
    "mean": "mean (°)",
    "median": "median (°)",
    "rmse": "RMSE (°)",
    "a11": "< 11.25° (%)",
    "a22": "< 22.5° (%)",
    "a30": "< 30° (%)",
}

TASK = Task(
    name="normals",
    about="surface normals of every pixel: a linear head",
    layouts=LAYOUTS,
    config=NormalsFit,
    recipes=RECIPES,
    fit=partial(fit_dense, HEAD),
    load=load_normals,
    test=NormalsTest,
    score=_score,
    columns={
        name: Column(
            title=TITLES[name],
            statistic=MeanOf("scores", number),
            digits=1 if name.startswith("a") else 2,
            headline=name in ("mean", "rmse", "a30"),
            higher=name.startswith("a"),
        )
        for number, name in enumerate(NORMAL_METRICS)
    },
    unit="degrees (mean, median, rmse), per cent (a11, a22, a30); means over images",
    summarize=without_truth,
    sight=SIGHT,
    predict=Prediction(
        options=NormalsOutput,
        run=_predict,
        writes="DIR/NAME.normals.png (red right, green up, blue towards the viewer), "
        "DIR/NAME.normals.npy (x right, y down, z forward)",
    ),
)

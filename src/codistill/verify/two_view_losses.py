"""Checks of two-view losses and of fast reciprocal matching.

In: `mast3r_loss_inputs.safetensors` with `mast3r_loss_expected.json`, `reciprocal_matching.safetensors`. Out: one
result per loss, per number logged with it, and per array of matched pixels.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from codistill.heads.two_view.losses import (
    TwoViewLoss,
    TwoViewLossConfig,
    ViewTruth,
    matching_loss,
    regression_loss,
    two_view_loss,
)
from codistill.heads.two_view.matching import fast_reciprocal_matches
from codistill.heads.two_view.network import ViewPrediction
from codistill.verify.check import CheckResult, compare_numbers, compare_tensors, failed

LOSS_TOLERANCE = 1e-5
POINTS = {1: "pts3d", 2: "pts3d_in_other_view"}
"""Names of each view's points in the files."""


LOSSES: dict[str, tuple[Callable[..., TwoViewLoss], TwoViewLossConfig]] = {
    "conf_regr3d_avgdis": (regression_loss, TwoViewLossConfig(metric=False)),
    "conf_regr3d_metric_avgdis": (regression_loss, TwoViewLossConfig(metric=True)),
    "conf_regr3d_metric_logspace": (regression_loss, TwoViewLossConfig(metric=True, log_space=True)),
    "conf_infonce_proper": (matching_loss, TwoViewLossConfig()),
    "full_mast3r": (two_view_loss, TwoViewLossConfig()),
}
"""The losses by name."""


def check_losses(inputs: Path, expected: Path) -> Iterator[CheckResult]:
    """Check every recorded loss, and the numbers logged with it."""
    tensors = load_file(inputs)
    predictions = [recorded_prediction(tensors, view) for view in (1, 2)]
    truths = [recorded_truth(tensors, view) for view in (1, 2)]
    for name, numbers in json.loads(expected.read_text()).items():
        title = f"{expected.stem}: {name}"
        if name not in LOSSES:
            yield failed(title, LOSS_TOLERANCE, f"unknown loss; known: {', '.join(LOSSES)}")
            continue
        function, config = LOSSES[name]
        got = function(*predictions, *truths, config)
        yield compare_numbers(f"{title}/loss", float(got.loss), numbers["loss"], LOSS_TOLERANCE)
        for detail, value in numbers["details"].items():
            if detail in got.details:
                yield compare_numbers(f"{title}/{detail}", float(got.details[detail]), value, LOSS_TOLERANCE)
            else:
                yield failed(f"{title}/{detail}", LOSS_TOLERANCE, "not among the logged numbers")


def recorded_prediction(tensors: dict[str, Tensor], view: int) -> ViewPrediction:
    """A prediction from recorded loss inputs."""
    prefix = f"pred{view}/"
    return ViewPrediction(
        tensors[prefix + POINTS[view]],
        tensors[prefix + "conf"],
        tensors.get(prefix + "desc"),
        tensors.get(prefix + "desc_conf"),
    )


def recorded_truth(tensors: dict[str, Tensor], view: int) -> ViewTruth:
    """Ground truth from recorded loss inputs."""
    fields = (
        "pts3d",
        "valid_mask",
        "sky_mask",
        "camera_pose",
        "is_metric_scale",
        "corres",
        "valid_corres",
    )
    values = [tensors.get(f"gt{view}/{name}", tensors[f"gt1/{name}"]) for name in fields]
    return ViewTruth(*values)


def check_matching(path: Path) -> Iterator[CheckResult]:
    """Check fast reciprocal nearest neighbours at every recorded subsampling; integers must be equal."""
    recorded = load_file(path)
    for name in sorted(recorded):
        match = re.fullmatch(r"subsample(\d+)/xy1", name)
        if match is None:
            continue
        found = fast_reciprocal_matches(recorded["desc1"], recorded["desc2"], subsample=int(match[1]))
        for view, got in ((1, found.pixels1), (2, found.pixels2)):
            key = f"subsample{match[1]}/xy{view}"
            yield compare_tensors(f"{path.stem}: {key}", got, recorded[key], 0.0)

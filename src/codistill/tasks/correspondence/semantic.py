"""Semantic correspondence as a task: the share of keypoints found on another object of the class. See `tasks/task.py`.

Source: Probe3D (arXiv 2404.08636). Pictures are padded with white to a square, below and to the right, and resized. The
match of a keypoint is the most similar cell of the other picture. It is correct within a tenth of the longest side of
the target's box (PCK, SPair-71k, arXiv 1908.10543). EUPE's variant is `size` 448 (512 for patches of 16), `upsample`
and the split `test-100`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from codistill.errors import ConfigError, check_least
from codistill.imaging import read_rgb, resize_rgb
from codistill.imaging.colours import error_colours
from codistill.imaging.legends import error_legend
from codistill.imaging.marks import match_picture
from codistill.metrics.correspondence import locate_keypoints, mean_of_classes
from codistill.tasks.correspondence.spair import LAYOUTS, KeypointPair, SPairData
from codistill.tasks.encoder_alone import DenseFeatures, load_features
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.score_table import ScoreTable
from codistill.tasks.shared.statistics import SumsOf
from codistill.tasks.task import Column, Outcome, Subject, Summary, Task

SHARES = (0.1, 0.05, 0.01)
"""Largest errors of a correct keypoint, as shares of the longest side of the target's box."""


@dataclass(frozen=True, kw_only=True)
class SemanticTest:
    """How keypoints are matched.

    Attributes:
        size: side in pixels of the square to which pictures are resized.
        upsample: search every pixel of the square, not only the cells of the feature map.
    """

    size: int = 800
    upsample: bool = False

    def __post_init__(self) -> None:
        check_least(self, "size")


def _load(subject: Subject, test: SemanticTest, data: SPairData | None) -> DenseFeatures:
    model = load_features(subject, test, data)
    patch = model.features.patch_size
    if test.upsample and test.size % patch:
        raise ConfigError(
            f"upsampling needs whole patches: a size that is a multiple of {patch}; got {test.size}"
        )
    return model


def _score(model: DenseFeatures, data: SPairData, test: SemanticTest, runtime: Runtime) -> Iterator[Outcome]:
    upsampled = (test.size, test.size) if test.upsample else None
    for index in range(len(data.samples)):
        pair = data.samples[index]
        (one, side1), (other, side2) = (
            model.kept_map(str(path), partial(_square, path, test.size)) for path in pair.images
        )
        points = torch.from_numpy(pair.points[0] / side1).to(one.device)
        found = locate_keypoints(one, other, points, upsampled).cpu().numpy() * side2
        yield _outcome(pair, found, data.classes.index(pair.category))


def _square(path: Path, size: int) -> tuple[np.ndarray, int]:
    """The picture padded to a square and resized, and the original picture's longer side in pixels."""
    image = read_rgb(path)
    rows, columns = image.shape[:2]
    side = max(rows, columns)
    padded = np.pad(image, ((0, side - rows), (0, side - columns), (0, 0)), constant_values=255)
    return resize_rgb(padded, (size, size)), side


def _outcome(pair: KeypointPair, found: np.ndarray, number: int) -> Outcome:
    errors = np.linalg.norm(found - pair.points[1], axis=1) / pair.longest
    counts = np.array([len(errors), *((errors < share).sum() for share in SHARES)])
    values = {"class": number, "viewpoint": pair.viewpoint, "counts": counts}
    return Outcome(pair.name, values, draw=partial(_draw, pair, found, errors / SHARES[0]))


def _draw(pair: KeypointPair, found: np.ndarray, wrong: np.ndarray) -> list[np.ndarray]:
    (source, target), (points, truth) = map(read_rgb, pair.images), pair.points
    return [
        match_picture(source, target, points, found, colours=error_colours(wrong)),
        match_picture(source, target, points, truth, colours=error_colours(np.zeros(len(truth)))),
    ]


def _sums(table: ScoreTable, share: int = 0, by_image: bool = False) -> np.ndarray:
    """(pair, class, 2): number of keypoints found and number of all; with `by_image`, the share found and 1."""
    all_points, number = table.values["counts"][:, 0], table.values["class"].astype(int)
    weight = np.maximum(all_points, 1) if by_image else np.ones(len(table))
    sums = np.stack((table.values["counts"][:, 1 + share], all_points), axis=1) / weight[:, None]
    return np.eye(number.max() + 1)[number][:, :, None] * sums[:, None]


def _summarize(table: ScoreTable, data: SPairData, test: SemanticTest) -> Summary:
    right, points = _sums(table).sum(0).T
    by_class = {data.classes[n]: round(100 * right[n] / points[n], 2) for n in np.flatnonzero(points)}
    by_viewpoint = {}
    for number in np.unique(table.values["viewpoint"]).tolist():
        part = table.at(np.flatnonzero(table.values["viewpoint"] == number))
        by_viewpoint[str(number)] = round(float(mean_of_classes(_sums(part).sum(0)[None])[0]), 2)
    lines = (
        f"PCK@0.1 of {len(by_class)} classes: {', '.join(f'{n} {v:.1f}' for n, v in by_class.items())}",
        f"by difference of viewpoint: {', '.join(f'{n}: {v:.1f}' for n, v in by_viewpoint.items())}",
    )
    legend = partial(error_legend, ("found", "a tenth of the box off, or more"))
    return Summary(facts={"class_pck": by_class, "viewpoint_pck": by_viewpoint}, lines=lines, legend=legend)


def _pck(share: int, by_image: bool = False) -> Column:
    name = f"PCK@{SHARES[share]:g} per {'image' if by_image else 'point'} (%)"
    sums = partial(_sums, share=share, by_image=by_image)
    statistic = SumsOf(sums, mean_of_classes, lambda total: bool(total[:, 1].any()))
    return Column(title=name, statistic=statistic, digits=1, headline=share == 0)


TASK = Task(
    name="semantic-correspondence",
    about="the same parts of two objects of a class: the most similar dense feature, nothing is fitted",
    layouts=LAYOUTS,
    load=_load,
    test=SemanticTest,
    score=_score,
    columns={"pck": _pck(0), "pck_image": _pck(0, by_image=True), "pck_0.05": _pck(1), "pck_0.01": _pck(2)},
    unit="per cent of keypoints; means over classes",
    samples="pairs",
    shown=("found", "truth"),
    summarize=_summarize,
)

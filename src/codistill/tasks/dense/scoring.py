"""Score and save for dense tasks: run the model on one image at a time, and turn results into outcomes or files."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from codistill.imaging.pictures import save_array, save_picture
from codistill.tasks.shared.data import DenseSample
from codistill.tasks.shared.read_ahead import read_ahead
from codistill.tasks.shared.score_table import ScoreTable
from codistill.tasks.task import ImageFile, Outcome, Summary


def one_by_one(
    model: Callable[[np.ndarray], np.ndarray],
    samples: Any,
    outcome: Callable[[DenseSample, np.ndarray], Outcome],
    threads: int | None,
) -> Iterator[Outcome]:
    """Yield the outcomes of all samples, in order.

    Args:
        model: maps an image (row, column, 3) uint8 to one value per pixel.
        samples: images with ground truth.
        outcome: given sample and prediction, returns the outcome.
        threads: see `read_ahead`.

    Raises:
        DataError: if a sample cannot be used.
    """
    for sample in read_ahead(samples.__getitem__, len(samples), threads):
        yield outcome(sample, model(sample.image))


def save_map(shown: np.ndarray, values: np.ndarray, image: ImageFile, out: Path) -> list[Path]:
    """Write a picture (row, column, 3) uint8 as NAME.png and values as NAME.npy; return the files.

    Raises:
        DataError: if a file cannot be written.
    """
    files = [image.within(out, suffix) for suffix in (".png", ".npy")]
    save_picture(Image.fromarray(shown), files[0])
    save_array(values, files[1])
    return files


def without_truth(table: ScoreTable, data: Any, test: Any) -> Summary:
    """Count the images without known ground truth: the first of their `scores` is NaN."""
    unknown = int(np.isnan(table.values["scores"][:, 0]).sum())
    lines = (f"{unknown} images have no pixel whose truth is known and scored",)
    return Summary(facts={"images_without_truth": unknown}, lines=lines if unknown else ())

"""The record of a run: what an interval says of itself follows from the batches that were trained on."""

import json
from pathlib import Path

import pytest
import torch

from codistill.engine.distributed import Process
from codistill.engine.logging import RunLog
from codistill.engine.progress import ProgressDisplay
from codistill.types import Batch


def batch(images: int) -> Batch:
    words = ("a",) * images
    return Batch(torch.zeros(images, 3, 2, 2), words, words, words)


def test_images_per_second_counts_the_images_of_every_step(tmp_path: Path) -> None:
    """Steps of several sizes, in several parts: no nominal batch enters the rate."""
    log = RunLog(
        tmp_path,
        Process(),
        every=3,
        learning_rates=[0.1] * 6,
        trackers=[],
        display=ProgressDisplay(6, 0, None),
    )
    for first, steps in ((0, [[3], [5, 5], [1]]), (3, [[2, 2], [40]])):
        for number, sizes in enumerate(steps, start=first):
            log.add(number, {"loss": torch.tensor(1.0)}, [batch(size) for size in sizes])
        log.flush()
        last = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])
        seconds = last["time/step"] * len(steps)
        assert last["time/images_per_second"] * seconds == pytest.approx(sum(map(sum, steps)), rel=2e-3)

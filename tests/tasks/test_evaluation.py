"""The folder of an evaluation: its files belong together, whatever happens while they are written."""

import errno
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_brightness
from toy_brightness import TASK, BrightnessTest

from codistill.errors import WriteError
from codistill.files.writing import cannot_write
from codistill.tasks import evaluation
from codistill.tasks.evaluation import evaluate, write_evaluation
from codistill.tasks.task import Outcome, TaskData


def written(out: Path, error: float) -> None:
    data = TaskData(spec="grey:here", split="val", samples=toy_brightness.Photos((Path("a.png"),)))
    test = BrightnessTest()
    found = evaluate(TASK, [Outcome("a.png", {"error": error})], data, test)
    write_evaluation(out, TASK, found, data, test, {}, [])


def told(out: Path) -> tuple[Any, float]:
    scores = json.loads((out / "metrics.json").read_text())["scores"]
    return scores["error"]["mean"], float(np.load(out / "per_image.npz")["error"][0])


def test_an_evaluation_that_cannot_be_written_leaves_the_earlier_one_whole(tmp_path, monkeypatch) -> None:
    written(tmp_path, 1.0)
    assert told(tmp_path) == (1.0, 1.0)

    def full(path: Path, *rest: Any) -> None:
        raise cannot_write(path, OSError(errno.ENOSPC, "No space left on device"))

    with monkeypatch.context() as patch:
        patch.setattr(evaluation, "write_metrics", full)
        with pytest.raises(WriteError, match=r"No space left.*Free some space"):
            written(tmp_path, 2.0)
    assert told(tmp_path) == (1.0, 1.0)
    written(tmp_path, 2.0)
    assert told(tmp_path) == (2.0, 2.0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.json", "per_image.npz"]

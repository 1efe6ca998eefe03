"""What the demo's page is gathered from: a run's files, metrics files, a model's card."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from codistill.demo.gather import example_pictures, headline_scores, likeness_of, taught, training_seconds
from codistill.errors import DataError


def _run(folder: Path, steps: int) -> Path:
    folder.mkdir()
    about = {"name": "stereo", "encoder": "stereo-tiny", "domain": "3d", "licence": "Apache-2.0"}
    (folder / "describe.json").write_text(json.dumps({"teachers": [about]}))
    rows = [{"step": step, "loss": 1.0, "loss/stereo": 2.0 - step / steps} for step in range(steps)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_curves_are_means_over_stretches_that_end_at_the_last_step(tmp_path: Path):
    (one,) = taught(_run(tmp_path / "run", 120))
    assert (one.name, one.encoder, one.domain) == ("stereo", "stereo-tiny", "3d")
    assert len(one.steps) == 60
    assert one.steps[-1] == 119
    np.testing.assert_allclose(one.losses, [2.0 - (2 * k + 0.5) / 120 for k in range(60)])


def test_steps_in_which_a_teacher_saw_nothing_are_left_out(tmp_path: Path):
    run = _run(tmp_path / "run", 4)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    del rows[1]["loss/stereo"]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (one,) = taught(run)
    assert one.steps.tolist() == [0, 2, 3]


def test_the_time_of_a_training_is_that_of_all_its_steps(tmp_path: Path):
    run = _run(tmp_path / "run", 5)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    rows[1]["time/step"], rows[4]["time/step"] = 2.0, 0.5
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert training_seconds(run) == 2 * 2.0 + 3 * 0.5


def test_likeness_is_by_student_and_teacher(tmp_path: Path):
    files = {}
    for teacher, mean in (("generic", 0.5), ("people", 0.7)):
        interval = {"mean": mean, "low": mean - 0.1, "high": mean + 0.1, "count": 24, "groups": 24}
        methods = {"run": {"all": interval}, "dune-tiny": {"all": {**interval, "mean": mean + 0.05}}}
        files[teacher] = tmp_path / f"{teacher}.json"
        files[teacher].write_text(json.dumps({"methods": methods}))
    found, images = likeness_of(files)
    assert images == 24
    assert found["this run"]["people"].mean == 0.7
    assert found["dune-tiny"]["generic"].mean == 0.55


def test_only_headlines_of_a_card_are_shown():
    score = {"mean": 0.3214, "low": 0.31, "high": 0.33, "count": 600, "groups": 600}
    facts = {"data": "world:w", "split": "test", "images": 1600, "scores": {"miou": score, "unknown": score}}
    rows = headline_scores({"heads": {"segmentation": facts, "two-view": {"data": "w", "scores": {}}}})
    assert len(rows) == 1
    head, title, value, where = rows[0]
    assert head == "segmentation"
    assert title.endswith("↑")
    assert "[" in value
    assert where == "1,600 of world:w, test"


def test_scores_named_after_the_head_are_headlines_too():
    score = {"mean": 44.4528, "low": 42.5634, "high": 46.3158, "count": 2659, "groups": 571}
    facts = {"data": "folder:things", "split": "test", "images": 2659, "scores": {"linear top-1": score}}
    expected = ("linear", "linear top-1 (%) ↑", "44.5 [42.6, 46.3]", "2,659 of folder:things, test")
    assert headline_scores({"heads": {"linear": facts}}) == [expected]


def test_own_photographs_take_the_portraits_place(tmp_path: Path):
    path = tmp_path / "cat.png"
    Image.new("RGB", (40, 30), (200, 10, 10)).save(path)
    titles = [title for title, _ in example_pictures([path]).single]
    assert "cat.png" in titles
    assert not any("Hopper" in title for title in titles)
    assert any("Hopper" in title for title, _ in example_pictures([]).single)


def test_a_photograph_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match=r"cat\.png"):
        example_pictures([tmp_path / "cat.png"])

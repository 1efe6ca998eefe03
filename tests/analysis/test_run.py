"""A run opened from Python, from files written here by hand."""

import json
from pathlib import Path

import pytest

import codistill
from codistill.errors import DataError


def write_run(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("name: mine\nabout: 'a <small> try'\n")
    teachers = [{"name": "dino", "licence": "Apache-2.0"}]
    (folder / "describe.json").write_text(json.dumps({"licence": "CC0", "teachers": teachers}))
    rows = [{"step": step, "loss": 2.0 / (step + 1), "loss/dino": 1.0} for step in range(3)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_a_run_says_what_was_trained_and_how_far(tmp_path: Path) -> None:
    run = codistill.load_run(write_run(tmp_path / "run"))
    assert run.steps == 3 and run.recipe["name"] == "mine" and run.held_out is None
    assert run.losses.values["loss"].tolist() == [2.0, 1.0, 2.0 / 3]
    text = run._repr_html_()
    assert "mine: a &lt;small&gt; try" in text and "3 steps" in text and "last loss 0.6667" in text
    assert "teachers: dino" in text and "licence: CC0" in text and "data:image/png;base64," in text
    assert "recipe" not in repr(run)


def test_the_folder_of_a_head_leads_to_its_run(tmp_path: Path) -> None:
    write_run(tmp_path / "head" / "run")
    assert codistill.load_run(tmp_path / "head").folder == tmp_path / "head" / "run"


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no run of `codistill distill`"):
        codistill.load_run(tmp_path)
    run = write_run(tmp_path / "run")
    (run / "metrics.jsonl").unlink()
    with pytest.raises(DataError, match="no such file"):
        codistill.load_run(run)

"""What cells are expected to cost before any has finished."""

import json
from pathlib import Path
from typing import Any

import pytest

from codistill.commands.study import resolve_evaluation
from codistill.files.plain import from_plain
from codistill.recipes.registry import find_recipe
from codistill.study import costs
from codistill.study.cells import cells_of
from codistill.study.config import StudyConfig
from codistill.study.places import StudyFolder

SCORED = {"knn": {"task": "semantic-correspondence", "options": {"data": "spair:s"}}}


def test_a_training_is_expected_at_the_rate_of_its_own_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = {"fp32": 1e9, "bf16": 4e9}
    monkeypatch.setattr(costs, "machine_rate", lambda _, precision: rates[precision])
    rows: dict[str, Any] = {
        name: {"about": name, "recipe": "debug", "set": {"engine.precision": name}} for name in rates
    }
    plain = {"name": "s", "about": "s", "rows": rows, "evaluations": SCORED}
    study, folder = from_plain(StudyConfig, plain), StudyFolder(tmp_path)
    cells = cells_of(study, folder, resolve_evaluation)
    found = costs.estimates(study, cells, folder, None, "cpu")
    slow, fast = found["fp32/0/train"].seconds, found["bf16/0/train"].seconds
    assert slow and fast and slow / fast == pytest.approx(4)
    assert found["bf16/0/train"].why == f"{costs.SHARE:.0%} of one product's speed here"
    given = costs.estimates(study, cells, folder, 2e9, "cpu")
    assert given["fp32/0/train"].seconds == pytest.approx(
        costs.SHARE * slow / 2
    )  # 2e9 as given, not half of 1e9


def test_a_row_that_another_teaches_is_expected_before_that_one_is_trained(tmp_path: Path) -> None:
    """The folder of the study has the name of another network."""

    def expected(teacher: str) -> float | None:
        taught = {"teachers": [{"name": "proxy", "encoder": teacher}], "sources.0.domain": "generic"}
        rows = {"proxy": {"recipe": "debug"}, "taught": {"recipe": "debug", "set": taught}}
        study = from_plain(StudyConfig, {"name": "s", "rows": rows, "evaluations": SCORED})
        folder = StudyFolder(tmp_path / "vit_large_14")
        found = costs.estimates(study, cells_of(study, folder, resolve_evaluation), folder, 1e9, "cpu")[
            "taught/0/train"
        ]
        return found.seconds

    same = find_recipe("debug").student  # a ViT of this shape that is known by its name
    size = ",".join(
        f"{name}={getattr(same, name)}" for name in ("dim", "depth", "num_heads", "num_registers")
    )
    known = expected(f"random:{same.size},{size}")
    assert known and expected("row:proxy") == pytest.approx(known, rel=0.02)


def test_a_training_keeps_the_last_of_its_log_and_of_its_validation(tmp_path: Path) -> None:
    plain = {
        "name": "s",
        "about": "s",
        "rows": {"r": {"about": "r", "recipe": "debug"}},
        "evaluations": SCORED,
    }
    folder = StudyFolder(tmp_path)
    cell = next(c for c in cells_of(from_plain(StudyConfig, plain), folder, resolve_evaluation) if c.recipe)
    cell.out.mkdir(parents=True)
    (cell.out / "metrics.jsonl").write_text('{"step": 1, "loss": 3.0}\n{"step": 2, "loss": 2.0}\n')
    assert "validation" not in costs.facts_of(cell, 5.0, folder, "cpu")
    (cell.out / "validation.jsonl").write_text('{"step": 2, "a/cosine": 0.5, "when": "late"}\n')
    facts = costs.facts_of(cell, 5.0, folder, "cpu")
    assert facts["metrics"] == {"step": 2, "loss": 2.0}
    assert facts["validation"] == {"step": 2, "a/cosine": 0.5}
    assert facts["flops"] == costs.training_flops(cell)
    assert "loss_correlation" not in facts
    steps = [{"step": i, "loss/a": i % 3, "loss/b": -(i % 3)} for i in range(40)]
    (cell.out / "metrics.jsonl").write_text("\n".join(map(json.dumps, steps)))
    (pair,) = costs.facts_of(cell, 5.0, folder, "cpu")["loss_correlation"]
    assert (pair["first"], pair["second"], pair["updates"]) == ("a", "b", 39)
    assert pair["correlation"] == pytest.approx(-1)
    (cell.out / "metrics.jsonl").write_text("\n".join(map(json.dumps, steps[:4])))
    (short,) = costs.facts_of(cell, 5.0, folder, "cpu")["loss_correlation"]
    assert short["low"] is None
    json.dumps(short, allow_nan=False)


def test_the_rate_of_this_machine_is_measured() -> None:
    assert costs.machine_rate("cpu", "fp32") > 1e8

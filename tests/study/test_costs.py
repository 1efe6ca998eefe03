"""What cells are expected to cost before any has finished."""

from pathlib import Path
from typing import Any

import pytest

from codistill.commands.study import resolve_evaluation
from codistill.files.plain import from_plain
from codistill.study import costs
from codistill.study.cells import cells_of
from codistill.study.config import StudyConfig
from codistill.study.places import StudyFolder


def test_a_training_is_expected_at_the_rate_of_its_own_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = {"fp32": 1e9, "bf16": 4e9}
    monkeypatch.setattr(costs, "machine_rate", lambda _, precision: rates[precision])
    rows: dict[str, Any] = {
        name: {"about": name, "recipe": "debug", "set": {"engine.precision": name}} for name in rates
    }
    scored = {"knn": {"task": "semantic-correspondence", "options": {"data": "spair:s"}}}
    plain = {"name": "s", "about": "s", "rows": rows, "evaluations": scored}
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


def test_the_rate_of_this_machine_is_measured() -> None:
    assert costs.machine_rate("cpu", "fp32") > 1e8

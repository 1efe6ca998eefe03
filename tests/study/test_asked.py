"""Tables and comparisons that no results could give are refused before anything runs."""

from typing import Any

import pytest

from codistill.errors import ConfigError
from codistill.files.plain import from_plain
from codistill.study.asked import check_asked
from codistill.study.config import StudyConfig
from codistill.study.registry import find_study, shipped_studies


def study(**changes: Any) -> StudyConfig:
    plain: dict[str, Any] = {
        "name": "toy",
        "rows": {
            "one": {"recipe": "debug"},
            "other": {"recipe": "debug", "options": {"depth": {"data": "world:v"}}},
            "same": {"like": "other"},
        },
        "evaluations": {
            "depth": {"task": "depth", "options": {"data": "world:w"}},
            "knn": {"task": "knn", "options": {"data": "world:w"}},
        },
    }
    return from_plain(StudyConfig, {**plain, **changes})


def test_scores_that_the_task_does_not_have_are_refused() -> None:
    check_asked(study(tables={"main": {"columns": ["depth.a1", "depth", "hours", "knn.k=7 top-1"]}}))
    with pytest.raises(ConfigError, match=r"tables.main.columns: depth: .*'rmze'. Did you mean 'rmse'"):
        check_asked(study(tables={"main": {"columns": ["depth.rmze"]}}))
    compared = {"row": "other", "against": ["same"], "margin": {"depth.rmze": 0.1}}
    with pytest.raises(ConfigError, match=r"comparisons\[0\].margin: depth: .*Did you mean 'rmse'"):
        check_asked(study(comparisons=[compared]))


def test_rows_of_different_samples_are_not_compared() -> None:
    check_asked(study(comparisons=[{"row": "other", "against": ["same"]}]))
    check_asked(study(comparisons=[{"row": "one", "against": ["same"], "evaluations": ["knn"]}]))
    with pytest.raises(ConfigError, match=r"comparisons\[0\]: depth: one and same .*world:w.*world:v"):
        check_asked(study(comparisons=[{"row": "one", "against": ["same"]}]))


@pytest.mark.parametrize("name", shipped_studies())
def test_shipped_studies_ask_for_what_there_is(name: str) -> None:
    check_asked(find_study(name))

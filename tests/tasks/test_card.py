import pytest

from codistill.tasks.card import card_scores
from codistill.tasks.registry import find_task


def _score(mean: float | None, low: float | None, high: float | None):
    return {"mean": mean, "low": low, "high": high, "count": 600, "groups": 600}


def test_a_score_has_its_tasks_title_digits_and_direction():
    rows = card_scores("depth", {"rmse": _score(0.77238, 0.74625, 0.80036), "a1": _score(0.5, None, None)})
    assert rows == [("RMSE (m) ↓", "0.772 [0.746, 0.800]", True), ("δ < 1.25 ↑", "0.500", True)]


def test_unknown_and_undefined_scores_are_left_out():
    assert card_scores("depth", {"other": _score(0.5, 0.4, 0.6), "rmse": _score(None, None, None)}) == []


def test_scores_that_are_named_after_the_head_are_known_by_name():
    scores = {"k=20 top-1": _score(44.0, 42.0, 46.0), "k=20 top-5": _score(77.0, 75.0, 79.0)}
    assert [row[:2] for row in card_scores("knn", scores)] == [
        ("k=20 top-1 (%) ↑", "44.0 [42.0, 46.0]"),
        ("k=20 top-5 (%) ↑", "77.0 [75.0, 79.0]"),
    ]


@pytest.mark.parametrize("name", ["top-1", "k=20 top-3", "k=20 top-x", "k=20"])
def test_other_names_are_no_scores_of_a_classifier(name: str):
    assert find_task("knn").column(name) is None

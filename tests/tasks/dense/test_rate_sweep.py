import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from torch import nn

from codistill.errors import DataError
from codistill.tasks.dense import rate_sweep
from codistill.tasks.dense.cached_fit import default_steps, default_views
from codistill.tasks.dense.config import DenseFit
from codistill.tasks.dense.rate_sweep import beyond, edge_of, sweep_rates
from codistill.tasks.results_table import results_rows
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.features import FeatureConfig
from codistill.tasks.shared.progress import Announcement, Lines, duration

RATES = (1e-3, 1e-2)


class Fit(DenseFit):
    """Two default rates."""


Fit.learning_rates = RATES  # what `type(config).learning_rates` is of a dataclass with a default


def swept(monkeypatch, best, given_rates=None, **score):
    """A sweep whose heads score by the distance of their rate to the best one; and what it said."""
    said, fitted = [], []

    def fit(task, config, steps, cache, runtime):
        fitted.append(config.learning_rates)
        return config.learning_rates

    def scores(task, heads, cache, seed, device):
        return np.array([score.get("value", -abs(np.log10(rate / best))) for rate in heads])

    monkeypatch.setattr(rate_sweep, "_fitted", fit)
    monkeypatch.setattr(rate_sweep, "_scores", scores)
    monkeypatch.setattr(Runtime, "say", lambda self, text: said.append(text))

    class Task:
        higher_is_better, score_name = True, "miou"

    config = Fit(data="x:y", features=FeatureConfig(encoder="e"), learning_rates=given_rates or RATES)
    result = sweep_rates(Task(), config, 5, None, None, Runtime(out=None))  # type: ignore[arg-type]
    return result, fitted, said


def test_a_sweep_that_ends_at_its_edge_goes_on_until_it_does_not(monkeypatch):
    result, fitted, said = swept(monkeypatch, 1.0)
    assert fitted == [RATES, (0.1, 1.0, 10.0)]
    assert (result.rate, result.edge, result.chosen) == (1.0, "", 1) and result.heads == (0.1, 1.0, 10.0)
    assert list(result.scores) == [1e-3, 1e-2, 0.1, 1.0, 10.0] and "continues with 0.1, 1, 10" in said[0]


def test_it_goes_on_twice_at_most_and_says_that_it_is_still_at_the_edge(monkeypatch):
    result, fitted, said = swept(monkeypatch, 1e-30)
    assert fitted == [RATES, (1e-4, 1e-5, 1e-6), (1e-7, 1e-8, 1e-9)]
    assert (result.rate, result.edge) == (1e-9, "smallest") and "others may do better" in said[-1]


def test_rates_that_somebody_named_are_kept(monkeypatch):
    result, fitted, said = swept(monkeypatch, 1.0, (1e-3, 1e-2, 2e-2))
    assert len(fitted) == 1 and result.edge == "largest" and "largest learning rate tried" in said[-1]
    assert swept(monkeypatch, 1.0, (1e-2,))[0].edge == ""


def test_a_fit_without_any_score_is_refused(monkeypatch):
    with pytest.raises(DataError, match="no head has a miou on the held-out images"):
        swept(monkeypatch, 1.0, value=float("nan"))


@given(st.lists(st.floats(1e-6, 1.0), min_size=2, max_size=6, unique=True))
def test_new_rates_lie_beyond_all_tried_ones(rates):
    tried = dict.fromkeys((float(f"{rate:.2g}") for rate in rates), 0.0)
    if len(tried) > 1:
        assert all(rate > max(tried) for rate in beyond(tried, "largest"))
        assert all(0 < rate < min(tried) for rate in beyond(tried, "smallest"))
        assert edge_of(max(tried), tried) == "largest" and edge_of(min(tried), tried) == "smallest"


def test_a_table_says_which_rate_was_at_the_edge():
    scores = {name: {"mean": 50.0, "low": 40.0, "high": 60.0} for name in ("miou", "pixel_accuracy")}
    heads = [{"lr": rate} for rate in (0.001, 0.01, 0.05)]
    contents = [
        {"encoder": {"encoder": "e"}, "fit": {"chosen_lr": chosen, "heads": heads}, "scores": scores}
        for chosen in (0.01, 0.05)
    ]
    _, rows = results_rows("segmentation", contents)
    assert [row[-1] for row in rows] == ["lr 0.01", "lr 0.05 (largest tried)"]


def test_the_time_left_is_said_every_so_often():
    now, said = [0.0], []
    lines = Lines(said.append, "encoding", 100, lambda: now[0])
    for done in range(40, 101):
        lines(done)
        now[0] += 2.0
    assert said == [
        "encoding: 55 of 100, about 90 s left",
        "encoding: 70 of 100, about 60 s left",
        "encoding: 85 of 100, about 30 s left",
    ]
    assert [duration(s) for s in (0.1, 99, 600, 9000)] == ["1 s", "99 s", "10 min", "2.5 h"]


def test_a_fit_says_what_it_will_take_before_it_starts_and_measuring_changes_nothing(tmp_path):
    heads, said = nn.BatchNorm1d(3), []
    before = {name: value.clone() for name, value in heads.state_dict().items()}
    runtime = Runtime(out=tmp_path, console=Console(quiet=True))
    object.__setattr__(runtime, "say", said.append)
    config = DenseFit(data="x:y", features=FeatureConfig(encoder="e"))
    rate_sweep._announce(
        heads, lambda m, step: m(torch.randn(8, 3)).square().mean(0), 500, config, tmp_path, runtime
    )
    assert "500 steps of 16 views and 256 pixels: about " in said[0]
    assert all(torch.equal(value, before[name]) for name, value in heads.state_dict().items())
    assert all(p.grad is None for p in heads.parameters())


@pytest.mark.parametrize(
    ("images", "longest", "steps"),
    [(10, 4000, 200), (60, 4000, 200), (500, 4000, 750), (20_000, 40_000, 30_000)],
)
def test_defaults_fit_the_size_of_the_data(images, longest, steps):
    config = DenseFit(data="x:y", features=FeatureConfig(encoder="e"))
    assert default_steps(config, images, longest) == steps
    assert default_views(images) == (4 if images <= 250 else 2)


def test_the_whole_time_is_said_once_by_the_pace_after_the_first_batch() -> None:
    said: list[str] = []
    now = [0.0]
    cost = Announcement(said.append, "encoding", 100, lambda: now[0])
    for seconds, done in ((0, 0), (9, 4), (11, 8), (13, 12)):  # workers start: the first four take 9 s
        now[0] = seconds
        cost(done)
    assert said == ["encoding: 100, about 57 s"]  # 11 s for eight, 0.5 s for each of the other 92


def test_what_is_done_at_once_or_was_begun_before() -> None:
    said: list[str] = []
    now = [0.0]
    short, begun = (Announcement(said.append, name, 8, lambda: now[0]) for name in ("short", "begun"))
    for seconds, done in ((0, 0), (1, 4), (2, 8)):
        now[0] = seconds
        short(done)
    assert not said
    for seconds, done in ((0, 2), (1, 4), (2, 6)):
        now[0] = seconds
        begun(done)
    assert said == ["begun: 6 of 8, about 3 s"]

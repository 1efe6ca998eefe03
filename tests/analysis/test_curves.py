"""Loss curves: running means by a sum over a window, and which lines a figure has."""

import numpy as np

from codistill.analysis.curves import loss_figure, smoothed
from codistill.analysis.log import RunLogSeries


def test_running_means_leave_unknown_values_out() -> None:
    values = np.array([1.0, np.nan, 3.0, 5.0, 7.0])
    wanted = [np.nanmean(values[max(0, i - 1) : i + 2]) for i in range(5)]
    np.testing.assert_allclose(smoothed(values, 3), wanted)
    assert np.isnan(smoothed(np.array([np.nan, np.nan]), 1)).all()


def series(**values: list[float]) -> RunLogSeries:
    count = len(next(iter(values.values())))
    named = {name.replace("__", "/"): np.array(column) for name, column in values.items()}
    return RunLogSeries(np.arange(count), named)


def test_one_line_per_teacher_and_its_held_out_losses() -> None:
    training = series(loss=[3.0, 2.0], loss__dino=[1.0, 0.5], loss__mast3r=[2.0, 1.5])
    axes = loss_figure(training, series(all__dino__loss=[0.9, 0.6])).axes[0]
    lines = [list(line.get_ydata()) for line in axes.lines]
    assert lines == [[1.0, 0.5], [0.9, 0.6], [2.0, 1.5]]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["dino", "mast3r"]
    assert axes.get_ylabel() == "loss (dots: held out)"
    assert loss_figure(training, None).axes[0].get_ylabel() == "loss"


def test_a_fit_without_teachers_shows_its_loss() -> None:
    axes = loss_figure(series(loss=[3.0, 2.0], matching=[1.0, 1.0]), series(loss=[2.5, 2.4])).axes[0]
    assert [list(line.get_ydata()) for line in axes.lines] == [[3.0, 2.0], [2.5, 2.4]]

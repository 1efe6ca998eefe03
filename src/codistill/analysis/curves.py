"""Loss curves of a run as a figure: smoothed training losses as lines, held-out losses as dots."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from codistill.analysis.log import RunLogSeries


def smoothed(values: np.ndarray, width: int) -> np.ndarray:
    """Running mean over `width` steps, ignoring NaN."""
    kernel, known = np.ones(width), np.isfinite(values)
    sums = np.convolve(np.where(known, values, 0.0), kernel, "same")
    counts = np.convolve(known.astype(float), kernel, "same")
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def smoothing_width(series: RunLogSeries) -> int:
    """Number of steps that one point of a curve averages: a sixtieth of the log."""
    return max(1, len(series.steps) // 60)


def curves_of(series: RunLogSeries) -> Mapping[str, tuple[str, str]]:
    """By label, the names of a training loss and of its held-out loss: one pair per teacher, or the total loss only."""
    teachers = {t: (f"loss/{t}", f"all/{t}/loss") for t in series.teachers()}
    return teachers or {"loss": ("loss", "loss")}


def loss_figure(
    series: RunLogSeries, validation: RunLogSeries | None, size: tuple[float, float] = (7.5, 3.8)
) -> Figure:
    """Draw the smoothed training losses of each teacher (or the total loss), and held-out losses as dots.

    Args:
        series, validation: of training, and of held-out data, if there are any.
        size: width and height in inches.
    """
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    width, dotted = smoothing_width(series), False
    for index, (label, (name, held_out_name)) in enumerate(curves_of(series).items()):
        axes.plot(series.steps, smoothed(series.values[name], width), color=f"C{index}", label=label)
        held_out = validation.values.get(held_out_name) if validation else None
        if validation is not None and held_out is not None:
            axes.plot(validation.steps, held_out, "o--", color=f"C{index}", markersize=4, linewidth=0.8)
            dotted = True
    axes.set(xlabel="step", ylabel="loss (dots: held out)" if dotted else "loss")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return figure

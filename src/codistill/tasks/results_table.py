"""Build tables from metrics files for reports and Markdown, so that no number in the documentation is typed by hand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from codistill.tasks.registry import find_task, task_names


@dataclass(frozen=True)
class TableWords:
    """Words of a task's results table.

    Attributes:
        headlines: names of the scores that the table shows; () for all.
        titles: titles of the scores by name.
        samples: the word for the scored samples: images, pairs.
    """

    headlines: tuple[str, ...] = ()
    titles: Mapping[str, str] = field(default_factory=dict)
    samples: str = "images"


def table_words(name: str) -> TableWords:
    """Words of a task's table; names of scores as they are for tasks not installed and other results (distillation)."""
    if name not in task_names():
        return TableWords()
    task = find_task(name)
    shown = tuple(score for score, column in task.columns.items() if column.headline)
    return TableWords(shown, {score: column.title for score, column in task.columns.items()}, task.samples)


def result_kind(metrics: Mapping[str, Any]) -> tuple[str, str, int]:
    """What all results in one table must have in common: task, split, number of images."""
    return str(metrics["task"]), str(metrics.get("split", "")), int(metrics.get("images", 0))


def results_rows(
    task: str, contents: Sequence[Mapping[str, Any]], quote: str = ""
) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a table: encoder, headline scores of the task, how the head was fitted.

    Args:
        task: name of the task of all files.
        contents: content of the metrics files.
        quote: characters around the names of encoders.
    """
    words = table_words(task)
    names = words.headlines or tuple(contents[0]["scores"])
    header = ["encoder", *(words.titles.get(name, name) for name in names), "fit"]
    rows = [
        [
            _encoder(metrics, quote),
            *(shown_score(metrics["scores"].get(name)) for name in names),
            _fit(metrics),
        ]
        for metrics in contents
    ]
    return header, rows


def _encoder(metrics: Mapping[str, Any], quote: str) -> str:
    """Name of the encoder, or of the baseline, released file or method used in its place."""
    encoder = metrics.get("encoder") or metrics.get("method") or {}
    if metrics.get("baseline"):
        encoder = {"baseline": metrics["baseline"]}
    named = next((encoder[key] for key in ("baseline", "model", "encoder") if encoder.get(key)), "?")
    text = f"{quote}{named}{quote}"
    return f"{text} → {encoder['projector']}" if encoder.get("projector") else text


def shown_score(score: Mapping[str, Any] | None) -> str:
    """Mean and confidence interval as text; a dash for an undefined score."""
    if score is None or score["mean"] is None:
        return "–"
    digits = 1 if score["mean"] > 10 else 3
    if score["low"] is None:
        return f"{score['mean']:.{digits}f} [unknown]"
    # A median that is infinite in many resamples has no finite upper limit, which JSON cannot hold.
    low, high = ("∞" if score[side] is None else f"{score[side]:.{digits}f}" for side in ("low", "high"))
    return f"{score['mean']:.{digits}f} [{low}, {high}]"


def _fit(metrics: Mapping[str, Any]) -> str:
    """How the head was fitted, as text; two-view tasks record it under `method`."""
    method = metrics.get("method") or {}
    if method.get("baseline") or metrics.get("baseline"):
        return "none"
    fit = metrics.get("fit") or method.get("fit") or {}
    parts = [str(fit[name]) for name in ("protocol", "recipe") if name in fit]
    parts += [f"{fit['steps']} steps"] if "steps" in fit else []
    parts += [f"lr {fit['chosen_lr']:g}{_edge(fit)}"] if "chosen_lr" in fit else []
    return ", ".join(parts) or "released"


def _edge(fit: Mapping[str, Any]) -> str:
    """A note if the chosen learning rate is the smallest or largest one tried: one beyond it might score better."""
    rates = [head["lr"] for head in fit.get("heads") or () if isinstance(head, Mapping) and "lr" in head]
    if len(rates) < 2 or fit["chosen_lr"] not in (min(rates), max(rates)):
        return ""
    return f" ({'smallest' if fit['chosen_lr'] == min(rates) else 'largest'} tried)"

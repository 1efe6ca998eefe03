"""Tables from metrics files, for reports and Markdown, so that no number in the documentation is typed by hand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from codistill.tasks.registry import find_task, task_names


@dataclass(frozen=True)
class TableWords:
    """How a table of a task is worded.

    Attributes:
        headlines: scores that it shows; () for all.
        titles: of scores.
        samples: what is scored: images, pairs.
    """

    headlines: tuple[str, ...] = ()
    titles: Mapping[str, str] = field(default_factory=dict)
    samples: str = "images"


def table_words(name: str) -> TableWords:
    """Wording of a task's table; plain names for other results (distillation) and tasks that are not installed."""
    if name not in task_names():
        return TableWords()
    task = find_task(name)
    shown = tuple(score for score, column in task.columns.items() if column.headline)
    return TableWords(shown, {score: column.title for score, column in task.columns.items()}, task.samples)


def result_kind(metrics: Mapping[str, Any]) -> tuple[str, str, int]:
    """What results in one table must share: task, split, number of images."""
    return str(metrics["task"]), str(metrics.get("split", "")), int(metrics.get("images", 0))


def results_rows(
    task: str, contents: Sequence[Mapping[str, Any]], quote: str = ""
) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a table: encoder, the task's headline scores, how it was fitted.

    Args:
        task: of all files.
        contents: of the metrics files.
        quote: put around the names of encoders.
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
    """The encoder, or the baseline, released file or method in its place."""
    encoder = metrics.get("encoder") or metrics.get("method") or {}
    if metrics.get("baseline"):
        encoder = {"baseline": metrics["baseline"]}
    named = next((encoder[key] for key in ("baseline", "model", "encoder") if encoder.get(key)), "?")
    text = f"{quote}{named}{quote}"
    return f"{text} → {encoder['projector']}" if encoder.get("projector") else text


def shown_score(score: Mapping[str, Any] | None) -> str:
    """Mean and interval, if known; a dash for an undefined score."""
    if score is None or score["mean"] is None:
        return "–"
    digits = 1 if score["mean"] > 10 else 3
    if score["low"] is None:
        return f"{score['mean']:.{digits}f} [unknown]"
    # A median that is infinite in many resamples has no finite upper limit, which JSON cannot hold.
    low, high = ("∞" if score[side] is None else f"{score[side]:.{digits}f}" for side in ("low", "high"))
    return f"{score['mean']:.{digits}f} [{low}, {high}]"


def _fit(metrics: Mapping[str, Any]) -> str:
    """How the head was fitted; two-view tasks record it with their method."""
    method = metrics.get("method") or {}
    if method.get("baseline") or metrics.get("baseline"):
        return "none"
    fit = metrics.get("fit") or method.get("fit") or {}
    parts = [str(fit[name]) for name in ("protocol", "recipe") if name in fit]
    parts += [f"{fit['steps']} steps"] if "steps" in fit else []
    parts += [f"lr {fit['chosen_lr']:g}{_edge(fit)}"] if "chosen_lr" in fit else []
    return ", ".join(parts) or "released"


def _edge(fit: Mapping[str, Any]) -> str:
    """A note if the chosen learning rate is at the edge of those tried, so that others might do better."""
    rates = [head["lr"] for head in fit.get("heads") or () if isinstance(head, Mapping) and "lr" in head]
    if len(rates) < 2 or fit["chosen_lr"] not in (min(rates), max(rates)):
        return ""
    return f" ({'smallest' if fit['chosen_lr'] == min(rates) else 'largest'} tried)"

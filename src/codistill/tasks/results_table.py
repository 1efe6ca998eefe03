"""Tables in Markdown from metrics files, so that no number in the documentation is typed by hand."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from codistill.weights.jsonfile import read_json

HEADLINES = {"segmentation": ("miou", "pixel_accuracy"), "depth": ("rmse", "a1", "abs_rel")}
"""Scores that a table shows, by task; all of them for other tasks."""

TITLES = {
    "miou": "mIoU (%)",
    "pixel_accuracy": "pixel accuracy (%)",
    "rmse": "RMSE (m)",
    "a1": "δ < 1.25",
    "abs_rel": "abs. rel.",
}


def results_table(paths: Sequence[Path]) -> str:
    """One row per metrics file of one task, in the order given: encoder, scores with 95 % intervals, how it was fitted.

    Raises:
        CheckpointError: if a file cannot be read.
        ValueError: if the files are of several tasks or data sets.
    """
    contents = [read_json(path) for path in paths]
    kinds = {(metrics["task"], metrics["split"], metrics["images"]) for metrics in contents}
    if len(kinds) != 1:
        raise ValueError(f"a table is of one task, split and set of images; got {sorted(kinds)}")
    task, _, images = kinds.pop()
    names = HEADLINES.get(task) or tuple(contents[0]["scores"])
    header = ["encoder", *(TITLES.get(name, name) for name in names), "fit"]
    rows = [[_encoder(m), *(_score(m["scores"][name]) for name in names), _fit(m["fit"])] for m in contents]
    lines = [header, ["---"] * len(header), *rows]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return f"{table}\n\n{images} test images; 95 % bootstrap intervals over images.\n"


def _encoder(metrics: dict[str, Any]) -> str:
    encoder = metrics["encoder"]
    text = f"`{encoder['encoder']}`"
    return f"{text} → {encoder['projector']}" if encoder.get("projector") else text


def _score(score: dict[str, Any]) -> str:
    digits = 1 if score["mean"] > 10 else 3
    low, high = (f"{score[side]:.{digits}f}" for side in ("low", "high"))
    return f"{score['mean']:.{digits}f} [{low}, {high}]"


def _fit(fit: dict[str, Any]) -> str:
    parts = [fit["protocol"]] if "protocol" in fit else []
    parts += [f"{fit['steps']} steps"] if "steps" in fit else []
    parts += [f"lr {fit['chosen_lr']:g}"] if "chosen_lr" in fit else []
    return ", ".join(parts) or "released"

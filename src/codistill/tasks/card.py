"""Write a model card in Markdown from the content of card.json."""

from collections.abc import Mapping
from typing import Any

from codistill.metrics.interval import Interval
from codistill.tasks.registry import find_task
from codistill.weights.shipped import HEADS


def model_card(card: Mapping[str, Any]) -> str:
    """Text of the README.md in a model's folder."""
    parts = [
        f"# {card['name']}",
        card["about"],
        f"Licence of the weights: {card['licence']}.",
        _use(card),
        *(_head(name, facts) for name, facts in card["heads"].items()),
        f"Made by `{card['provenance']['command']}` at commit {card['provenance']['commit']}. `codistill verify` "
        "computes the checks of card.json again.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _use(card: Mapping[str, Any]) -> str:
    lines = [f'encoder = codistill.load_encoder("{card["name"]}")']
    return "\n".join(["```python", *lines, "```"])


def _head(name: str, facts: Mapping[str, Any]) -> str:
    """Section on a head: the data it was fitted on, and its scores."""
    lines = [f"## {name}", "", f"`{HEADS}/{name}`, fitted on {facts['samples']} samples of {facts['data']}."]
    shown = _scores(name, facts["scores"])
    if shown:
        lines += [
            f"Scored on {facts['images']} samples of the split {facts['split']}; intervals: {facts['interval']}.",
            "",
            "| score | value |",
            "|---|---|",
            *shown,
        ]
    return "\n".join(lines)


def _scores(name: str, scores: Mapping[str, Any]) -> list[str]:
    return [f"| {title} | {value} |" for title, value, _ in card_scores(name, scores)]


def card_scores(head: str, scores: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    """Title, value with interval, and whether it is a headline, of the known and defined scores in a card."""
    task = find_task(head)
    rows = []
    for key, score in scores.items():
        column = task.column(key)
        if column is None or score["mean"] is None:
            continue
        value = f"{score['mean']:.{column.digits}f}"
        if score["low"] is not None and score["high"] is not None:
            value += f" [{Interval(**score).limits(column.digits)}]"
        rows.append((f"{column.title} {'↑' if column.higher else '↓'}", value, column.headline))
    return rows

"""What both evaluations of several views share: options, opening model and data, the results folder."""

import argparse
from typing import Any

from codistill.commands.evaluation_output import (
    METRICS,
    PER_IMAGE,
    PICTURES,
    as_array,
    print_scores,
    write_evaluation,
)
from codistill.commands.head_options import make_runtime
from codistill.commands.two_view_options import data_of
from codistill.tasks.two_view.head import open_two_view
from codistill.tasks.two_view.multiview.data import ViewSets, open_views
from codistill.tasks.two_view.multiview.score import MultiviewResult
from codistill.tasks.two_view.predict import TwoViewPredictor
from codistill.tasks.two_view.relocalize.score import plain


def open_data(arguments: argparse.Namespace, *, keys: bool = False) -> ViewSets:
    """The samples that were asked for; `keys`: each must have a key view."""
    return open_views(data_of(arguments), arguments.split, arguments.limit, keys=keys)


def open_predictor(arguments: argparse.Namespace, subsample: int = 8) -> TwoViewPredictor:
    """The model that was asked for, on its device; `subsample` is the distance of match seeds."""
    opened = open_two_view(
        arguments.head, arguments.model, arguments.encoder, other_encoder=arguments.other_encoder
    )
    predictor = TwoViewPredictor(opened, subsample=subsample, long_edge=arguments.long_edge)
    return predictor.to(make_runtime(arguments, arguments.out, []).device)


def write_result(
    arguments: argparse.Namespace,
    task: str,
    predictor: TwoViewPredictor,
    result: MultiviewResult,
    protocol: dict[str, Any],
    argv: list[str],
) -> None:
    """Print the scores; write metrics.json, per_image.npz and pictures.png."""
    scores, categories = result.intervals(), result.by_category()
    title = f"{predictor.about['encoder']}, {task}, on {arguments.data} ({arguments.split})"
    print_scores(title, scores, result.groups, "samples")
    for name, values in categories.items():
        count = next(iter(values.values())).count
        means = ", ".join(f"{key} {interval.mean:.1f}" for key, interval in values.items())
        print(f"{name} ({count} sample{'s' * (count > 1)}): {means}")
    numbers = {
        "task": task,
        "unit": "percent",
        "interval": f"{result.groups.about('samples')}, within their categories",
        "data": arguments.data,
        "split": arguments.split,
        "images": len(result.names),
        "categories": len(set(result.categories)),
        "method": {**predictor.about, "long_edge": predictor.long_edge},
        "protocol": protocol,
        "scores": plain(scores),
        "by_category": {name: plain(values) for name, values in categories.items()},
    }
    write_evaluation(
        arguments.out,
        numbers,
        result.details | as_array(result.groups),
        result.names,
        result.pictures,
        ["evaluate", task, *argv],
    )
    print(f"wrote {arguments.out}: {METRICS}, {PER_IMAGE}{f', {PICTURES}' if result.pictures else ''}")

"""`codistill evaluate people --head HEAD | --encoder E --data SPEC`: detection, body errors, groups, pictures."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from codistill.commands import fit_people
from codistill.commands.evaluated_head import EvaluatedHead, head_to_evaluate
from codistill.commands.evaluation_output import as_array, comparison, print_scores, write_evaluation
from codistill.commands.head_options import ImageProgress, make_runtime
from codistill.commands.parsers.evaluate_people import parse
from codistill.commands.people import test_of
from codistill.errors import ConfigError, DataError
from codistill.metrics.interval import Interval
from codistill.tasks.people.baseline import MeanBody
from codistill.tasks.people.data import PeopleData, check_people, limited_people, open_people
from codistill.tasks.people.evaluate import evaluate_people
from codistill.tasks.people.fit import fit_people as fit
from codistill.tasks.people.predict import load_people
from codistill.tasks.people.scores import PeopleScores, difference

PER_PERSON = "per_person.npz"


def _mean_body(head: EvaluatedHead, partial: bool) -> MeanBody:
    spec = head.record.data["spec"] if head.record else head.spec
    train = open_people(spec, "train", partial=partial)
    truths = (train.samples[index].truth for index in range(len(train.samples)))
    return MeanBody.of(truths, train.body.shape_limit)


def main(argv: list[str]) -> int:
    """Run the command."""
    arguments = parse(argv)
    if arguments.cells is not None and arguments.cells < 1:
        raise ConfigError(f"--cells must be 1 or more; got {arguments.cells}")

    def opened(spec: str, split: str) -> PeopleData:
        data = open_people(spec, split, partial=arguments.partial)
        for note in data.notes:
            print(f"note: {note}")
        data = replace(data, samples=limited_people(data.samples, arguments.limit))
        check_people(data.samples, f"{spec} ({split})")
        return data

    head, data = head_to_evaluate(
        arguments, argv, "people", fit_people.config_of, fit, fit_people.NORM, opened
    )
    out = head.out(arguments.out, "evaluation-mean-body" if arguments.mean_body else "evaluation")
    estimator = load_people(
        head.path,
        features=head.features,
        test=test_of(arguments),
        body=data.body,
        other_encoder=arguments.other_encoder,
    )
    if arguments.mean_body:
        estimator.mean = _mean_body(head, arguments.partial)
    estimator.to(make_runtime(arguments, out, []).device)
    with ImageProgress(f"people of {data.spec} ({data.split})") as progress:
        result = evaluate_people(
            estimator, data, cells=arguments.cells, pictures=arguments.pictures, progress=progress
        )
    scores = result.scores
    print_scores(
        f"{estimator.features.config.encoder} on {data.spec} ({data.split})",
        scores.intervals(),
        scores.together,
    )
    _print_groups(scores)
    numbers = {
        "task": "people",
        "unit": "per cent for detection, millimetres for errors, metres for place",
        "interval": scores.together.about(),
        "data": data.spec,
        "split": data.split,
        "images": len(scores.names),
        "truth": "everybody before the camera"
        if arguments.cells is None
        else f"the nearest head of each of {arguments.cells}x{arguments.cells} cells",
        "body": estimator.body.name,
        "encoder": estimator.features.describe(),
        "test": {
            "size": estimator.size,
            "threshold": estimator.test.threshold,
            "kernel": estimator.test.kernel,
            "mean_body": arguments.mean_body,
        },
        "fit": {**head.fit, "protocol": "mean body at its detections"} if arguments.mean_body else head.fit,
        **scores.summary(),
    }
    if arguments.against is not None:
        found = difference(scores, _read_scores(arguments.against, scores), arguments.score)
        numbers["comparison"] = comparison(arguments.against, arguments.score, found, arguments.margin)
    command = ["evaluate", "people", *argv]
    write_evaluation(
        out,
        numbers,
        {"counts": scores.counts, **as_array(scores.together)},
        scores.names,
        result.pictures,
        command,
    )
    arrays: dict[str, Any] = dict(scores.people)
    np.savez_compressed(out / PER_PERSON, **arrays)
    files = f"metrics.json, per_image.npz, {PER_PERSON}{', pictures.png' if result.pictures else ''}"
    print(f"wrote {out}: {files}")
    return 0


def _read_scores(folder: Path, own: PeopleScores) -> PeopleScores:
    """The counts of an earlier evaluation of the same images."""
    try:
        with np.load(folder / "per_image.npz") as images, np.load(folder / PER_PERSON) as people:
            other = PeopleScores(
                images["counts"],
                {key: people[key] for key in people.files},
                tuple(images["names"].tolist()),
                own.together,
            )
    except (OSError, KeyError, ValueError) as error:
        raise DataError(
            f"{folder}: cannot be compared with ({error}). Give the --out folder of an evaluation of people."
        ) from error
    if other.names != own.names:
        raise ConfigError(f"{folder}: a paired difference needs the same images in the same order")
    if not np.array_equal(other.people["image"], own.people["image"]):
        raise ConfigError(
            f"{folder}: counts {len(other.people['image'])} people as the truth, this evaluation "
            f"{len(own.people['image'])}: a paired difference needs the same people. "
            "Evaluate both with the same --cells."
        )
    return other


def _print_groups(scores: PeopleScores) -> None:
    table = Table(title="by group", title_justify="left")
    for column in ("group", "", "people", "recall (%)", "error (mm)"):
        table.add_column(column)
    for fact, bins in scores.groups().items():
        for title, group in bins.items():
            error = group.get("pa_pve") or group.get("pa_mpjpe")
            cells = [
                f"{one['mean']:.1f} [{Interval(**one).limits(1)}]" if one else "–"
                for one in (group["recall"], error)
            ]
            table.add_row(fact, title, str(group["people"]), *cells)
    if table.row_count:
        Console().print(table)

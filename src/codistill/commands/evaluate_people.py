"""`codistill evaluate people --head HEAD | --encoder E --data SPEC`: detection, body errors, groups, pictures."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from codistill.commands import fit_people
from codistill.commands.evaluation_output import comparison, print_scores, write_evaluation
from codistill.commands.head_options import ImageProgress, feature_config, make_runtime, needed_data
from codistill.commands.people import add_test_options, test_of
from codistill.errors import ConfigError, DataError
from codistill.tasks.frozen.head_files import HeadRecord, is_head, read_record
from codistill.tasks.people.baseline import MeanBody
from codistill.tasks.people.data import PeopleData, limited_people, open_people
from codistill.tasks.people.evaluate import evaluate_people
from codistill.tasks.people.fit import fit_people as fit
from codistill.tasks.people.predict import load_people
from codistill.tasks.people.scores import PeopleScores, difference

PER_PERSON = "per_person.npz"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="codistill evaluate people",
        description="Score a human-mesh head. Without --head, one is fitted first (see `codistill fit people`), in "
        "OUT/head. With --head, --encoder puts another encoder under it.",
    )
    parser.add_argument("--head", metavar="HEAD", help="a fitted head, or a released Multi-HMR file")
    parser.add_argument("--split", help="val or test (the world's test, val elsewhere)")
    parser.add_argument(
        "--mean-body",
        action="store_true",
        help="baseline: the training set's mean body wherever the head finds someone",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="score N images, evenly spread (all)")
    parser.add_argument("--pictures", type=int, default=6, metavar="N", help="examples in pictures.png (6)")
    parser.add_argument("--against", type=Path, metavar="OUT", help="paired difference to an evaluation")
    parser.add_argument("--score", default="pa_pve", help="score of the paired difference (pa_pve)")
    parser.add_argument("--margin", type=float, help="call differences within ± margin equal")
    parser.add_argument("--out", type=Path, metavar="OUT", help="folder of the results (HEAD/evaluation)")
    add_test_options(parser)
    fit_people.add_options(parser)
    return parser


def _head(arguments: argparse.Namespace, argv: list[str]) -> Path:
    """The head to score: the one given, or one fitted now."""
    if arguments.head:
        return Path(arguments.head)
    if arguments.out is None:
        raise ConfigError(
            "which head? add --head HEAD, or --encoder E --data SPEC --out OUT to fit one first"
        )
    head = arguments.out / "head"
    config = fit_people.config_of(arguments)
    if not fit(config, make_runtime(arguments, head, ["evaluate", "people", *argv])):
        raise ConfigError(f"the fit in {head} was stopped before its end; the same command goes on")
    return head


def _data(arguments: argparse.Namespace, record: HeadRecord | None) -> PeopleData:
    spec = arguments.data or (record.data["spec"] if record else needed_data(arguments))
    split = arguments.split or ("test" if spec.startswith("world:") else "val")
    data = open_people(spec, split, partial=arguments.partial)
    return replace(data, samples=limited_people(data.samples, arguments.limit))


def _mean_body(arguments: argparse.Namespace, record: HeadRecord | None, data: PeopleData) -> MeanBody:
    spec = record.data["spec"] if record else data.spec
    train = open_people(spec, "train", partial=arguments.partial)
    truths = (train.samples[index].truth for index in range(len(train.samples)))
    return MeanBody.of(truths, train.body.shape_limit)


def main(argv: list[str]) -> int:
    """Run the command."""
    arguments = _parser().parse_args(argv)
    head = _head(arguments, argv)
    record = read_record(head, "people") if is_head(head) or not head.is_file() else None
    data = _data(arguments, record)
    out = arguments.out or head.with_suffix("") / (
        "evaluation-mean-body" if arguments.mean_body else "evaluation"
    )
    features = feature_config(arguments, fit_people.NORM) if arguments.head else None
    estimator = load_people(head, features=features, test=test_of(arguments), body=data.body)
    if arguments.mean_body:
        estimator.mean = _mean_body(arguments, record, data)
    estimator.to(make_runtime(arguments, out, []).device)
    with ImageProgress(f"people of {data.spec} ({data.split})") as progress:
        result = evaluate_people(estimator, data, pictures=arguments.pictures, progress=progress)
    scores = result.scores
    print_scores(f"{estimator.features.config.encoder} on {data.spec} ({data.split})", scores.intervals())
    _print_groups(scores)
    fitted = record.fit if record else {"released": str(head)}
    numbers = {
        "task": "people",
        "unit": "per cent for detection, millimetres for errors, metres for place",
        "interval": "95 % percentile bootstrap over images",
        "data": data.spec,
        "split": data.split,
        "images": len(scores.names),
        "body": estimator.body.name,
        "encoder": estimator.features.describe(),
        "test": {
            "size": estimator.size,
            "threshold": estimator.test.threshold,
            "kernel": estimator.test.kernel,
            "mean_body": arguments.mean_body,
        },
        "fit": {**fitted, "protocol": "mean body at its detections"} if arguments.mean_body else fitted,
        **scores.summary(),
    }
    if arguments.against is not None:
        found = difference(scores, _read_scores(arguments.against, scores), arguments.score)
        numbers["comparison"] = comparison(arguments.against, arguments.score, found, arguments.margin)
    command = ["evaluate", "people", *argv]
    write_evaluation(out, numbers, {"counts": scores.counts}, scores.names, result.pictures, command)
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
                images["counts"], {key: people[key] for key in people.files}, tuple(images["names"].tolist())
            )
    except (OSError, KeyError, ValueError) as error:
        raise DataError(
            f"{folder}: cannot be compared with ({error}). Give the --out folder of an evaluation of people."
        ) from error
    if other.names != own.names:
        raise ConfigError(f"{folder}: a paired difference needs the same images in the same order")
    return other


def _print_groups(scores: PeopleScores) -> None:
    table = Table(title="by group", title_justify="left")
    for column in ("group", "", "people", "recall (%)", "error (mm)"):
        table.add_column(column)
    for fact, bins in scores.groups().items():
        for title, group in bins.items():
            error = group.get("pa_pve") or group.get("pa_mpjpe")
            cells = [
                f"{one['mean']:.1f} [{one['low']:.1f}, {one['high']:.1f}]" if one else "–"
                for one in (group["recall"], error)
            ]
            table.add_row(fact, title, str(group["people"]), *cells)
    if table.row_count:
        Console().print(table)

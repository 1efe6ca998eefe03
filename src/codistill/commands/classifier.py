"""`codistill fit|evaluate knn|linear`: classification of whole images on any image folder."""

import argparse

from codistill.commands.evaluation_output import as_array, print_scores, write_evaluation
from codistill.commands.head_options import ImageProgress, head_features, make_runtime, needed_features
from codistill.commands.parsers.classifier import NORM, parse_evaluate, parse_fit
from codistill.commands.parsers.head_options import (
    needed_data,
    parse_numbers,
)
from codistill.tasks.classification.bank import ImageVectors
from codistill.tasks.classification.data import check_images, open_image_folder
from codistill.tasks.classification.evaluate import evaluate_classifier
from codistill.tasks.classification.fit import ClassificationFit, Classifier, fit_classifier
from codistill.tasks.classification.knn import NEIGHBOURS, TEMPERATURE
from codistill.tasks.classification.logistic import STRENGTHS
from codistill.tasks.classification.predict import load_classifier
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.head_files import read_record


def _config(arguments: argparse.Namespace, task: Classifier) -> ClassificationFit:
    knn = task == "knn"
    protocol = "cached" if knn else arguments.protocol
    return ClassificationFit(
        task=task,
        data=needed_data(arguments),
        features=needed_features(arguments, NORM),
        vectors=ImageVectors(kind=arguments.vector, resize=arguments.resize, crop=arguments.crop),
        # None lets the fit choose; another classifier's value is part of its sweep's name.
        neighbours=(parse_numbers(arguments.neighbours, int, "--neighbours") or None) if knn else NEIGHBOURS,
        temperature=arguments.temperature if knn else TEMPERATURE,
        strengths=(() if knn else parse_numbers(arguments.strengths, float, "--strengths")) or STRENGTHS,
        limit=arguments.fit_limit,
        protocol=protocol,
        steps=1 if knn else arguments.steps,
        batch_size=arguments.batch_size or (128 if protocol == "published" else 32),
        seed=arguments.seed,
    )


def _fit(config: ClassificationFit, runtime: Runtime) -> None:
    with ImageProgress("encoding training images") as progress:
        fit_classifier(config, runtime, progress)


def fit_main(task: Classifier, argv: list[str]) -> int:
    """`codistill fit knn|linear`."""
    arguments = parse_fit(task, argv)
    _fit(_config(arguments, task), make_runtime(arguments, arguments.out, ["fit", task, *argv]))
    print(arguments.out)
    return 0


def evaluate_main(task: Classifier, argv: list[str]) -> int:
    """`codistill evaluate knn|linear`."""
    arguments = parse_evaluate(task, argv)
    head = arguments.head or arguments.out / "head"
    out = arguments.out or head / "evaluation"
    runtime = make_runtime(arguments, head, ["evaluate", task, *argv])
    given = arguments.head is not None
    root = arguments.data or (read_record(head, task).data["spec"] if given else needed_data(arguments))
    data = open_image_folder(root, arguments.split).limited(arguments.limit)
    check_images(data)
    if not given:
        _fit(_config(arguments, task), runtime)
    classifier = load_classifier(
        head,
        task,
        features=head_features(arguments, NORM, task=task) if given else None,
        other_encoder=arguments.other_encoder,
    )
    vectors = classifier.encode(
        data.paths, runtime.device, batch_size=arguments.batch_size or 32, workers=arguments.workers
    )
    result = evaluate_classifier(classifier, data, vectors)
    print_scores(
        f"{classifier.features.config.encoder}, {task}, on {root}", result.intervals(), result.groups
    )
    numbers = {
        "task": task,
        "unit": "per cent",
        "interval": result.groups.about(),
        "data": str(root),
        "split": arguments.split,
        "images": len(data),
        "encoder": classifier.features.describe(),
        "fit": classifier.record.fit,
        **result.summary(),
    }
    hits = {name.replace("=", "_"): values for name, values in result.hits.items()} | as_array(result.groups)
    write_evaluation(out, numbers, hits, result.names, [], ["evaluate", task, *argv])
    print(f"wrote {out}: metrics.json, per_image.npz")
    return 0

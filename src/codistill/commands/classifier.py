"""`codistill fit|evaluate knn|linear`: classification of whole images on any image folder."""

import argparse
from pathlib import Path

from codistill.commands.evaluation_output import as_array, print_scores, write_evaluation
from codistill.commands.head_options import (
    ImageProgress,
    add_feature_options,
    add_other_encoder_option,
    add_runtime_options,
    head_features,
    make_runtime,
    needed_data,
    needed_features,
    parse_numbers,
)
from codistill.errors import ConfigError
from codistill.tasks.classification.bank import ImageVectors
from codistill.tasks.classification.data import LAYOUT, check_images, open_image_folder
from codistill.tasks.classification.evaluate import evaluate_classifier
from codistill.tasks.classification.fit import ClassificationFit, Classifier, fit_classifier
from codistill.tasks.classification.knn import NEIGHBOURS, TEMPERATURE
from codistill.tasks.classification.logistic import STRENGTHS
from codistill.tasks.classification.predict import load_classifier
from codistill.tasks.frozen.config import Runtime
from codistill.tasks.frozen.head_files import read_record

NORM = True
ABOUT = {
    "knn": "nearest neighbours among the training images",
    "linear": "a linear classifier: logistic regression, or DINOv2's sweep",
}


def _add_options(parser: argparse.ArgumentParser, task: Classifier) -> None:
    parser.add_argument("--data", metavar="ROOT", help=f"an image folder: {LAYOUT}")
    add_feature_options(parser, NORM)
    group = parser.add_argument_group("fitting")
    group.add_argument(
        "--vector",
        choices=("cls", "mean", "cls+mean"),
        default="cls",
        help="class token, mean patch, or both (cls)",
    )
    group.add_argument("--resize", type=int, default=256, help="shorter side in pixels (256)")
    group.add_argument("--crop", type=int, default=224, help="side of the centre crop (224)")
    if task == "knn":
        listed = ",".join(map(str, NEIGHBOURS))
        group.add_argument("--neighbours", metavar="K,…", help=f"numbers of neighbours ({listed})")
        group.add_argument("--temperature", type=float, default=TEMPERATURE, help=f"({TEMPERATURE})")
    else:
        group.add_argument(
            "--protocol",
            choices=("cached", "published"),
            default="cached",
            help="cached: logistic regression; published: DINOv2's sweep of 52 heads on random crops (cached)",
        )
        group.add_argument("--steps", type=int, default=12_500, help="published: optimizer steps (12500)")
        group.add_argument("--strengths", metavar="C,…", help="choose from these (1e-5, 1e-4, … 1e6)")
    group.add_argument("--fit-limit", type=int, metavar="N", help="train on N images, evenly spread (all)")
    group.add_argument("--batch-size", type=int, help="images at a time (32; published: 128)")
    group.add_argument("--seed", type=int, default=0)
    add_runtime_options(parser)


def _config(arguments: argparse.Namespace, task: Classifier) -> ClassificationFit:
    knn = task == "knn"
    protocol = "cached" if knn else arguments.protocol
    return ClassificationFit(
        task=task,
        data=needed_data(arguments),
        features=needed_features(arguments, NORM),
        vectors=ImageVectors(kind=arguments.vector, resize=arguments.resize, crop=arguments.crop),
        neighbours=(parse_numbers(arguments.neighbours, int, "--neighbours") if knn else ()) or NEIGHBOURS,
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
    parser = argparse.ArgumentParser(
        prog=f"codistill fit {task}", description=f"{ABOUT[task]}; the same command again goes on."
    )
    _add_options(parser, task)
    parser.add_argument("--out", type=Path, required=True, metavar="HEAD", help="folder of the head")
    arguments = parser.parse_args(argv)
    _fit(_config(arguments, task), make_runtime(arguments, arguments.out, ["fit", task, *argv]))
    print(arguments.out)
    return 0


def evaluate_main(task: Classifier, argv: list[str]) -> int:
    """`codistill evaluate knn|linear`."""
    parser = argparse.ArgumentParser(
        prog=f"codistill evaluate {task}",
        description=f"Score {ABOUT[task]}. Without --head, one is fitted first, in OUT/head.",
    )
    parser.add_argument("--head", type=Path, metavar="HEAD", help=f"of `codistill fit {task}`")
    add_other_encoder_option(parser)
    parser.add_argument("--split", default="val", help="(val)")
    parser.add_argument("--limit", type=int, metavar="N", help="score N images, evenly spread (all)")
    parser.add_argument("--out", type=Path, metavar="OUT", help="folder of the results (HEAD/evaluation)")
    _add_options(parser, task)
    arguments = parser.parse_args(argv)
    if arguments.head is None and arguments.out is None:
        raise ConfigError(
            "which head? add --head HEAD, or --encoder E --data ROOT --out OUT to fit one first"
        )
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

"""What `codistill fit|evaluate knn|linear` may be told."""

import argparse
from pathlib import Path
from typing import Literal

from codistill.commands.parsers.evaluation_options import check_evaluation
from codistill.commands.parsers.head_options import (
    add_feature_options,
    add_other_encoder_option,
    add_runtime_options,
    check_fit,
    parse_numbers,
)
from codistill.files.literals import literal

Classifier = Literal["knn", "linear"]
LAYOUT: str = literal("codistill.tasks.classification.data", "LAYOUT")
NEIGHBOURS: tuple[int, ...] = literal("codistill.tasks.classification.knn", "NEIGHBOURS")
TEMPERATURE: float = literal("codistill.tasks.classification.knn", "TEMPERATURE")
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


def parse_fit(task: Classifier, argv: list[str]) -> argparse.Namespace:
    """The arguments, checked; ends the process where argparse has something to say."""
    parser = argparse.ArgumentParser(
        prog=f"codistill fit {task}", description=f"{ABOUT[task]}; the same command again goes on."
    )
    _add_options(parser, task)
    parser.add_argument("--out", type=Path, required=True, metavar="HEAD", help="folder of the head")
    return check_fit(_numbers(parser.parse_args(argv)))


def parse_evaluate(task: Classifier, argv: list[str]) -> argparse.Namespace:
    """The arguments, checked; ends the process where argparse has something to say."""
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
    return check_evaluation(parser, _numbers(parser.parse_args(argv)), used="batch_size")


def _numbers(arguments: argparse.Namespace) -> argparse.Namespace:
    for option, kind in (("neighbours", int), ("strengths", float)):
        parse_numbers(getattr(arguments, option, None), kind, f"--{option}")
    return arguments

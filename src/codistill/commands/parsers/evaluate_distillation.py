"""Options of `codistill evaluate distillation`."""

import argparse
from pathlib import Path


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="codistill evaluate distillation",
        description="Cosine similarity of predicted and true patch tokens on held-out images, with intervals.",
    )
    parser.add_argument(
        "--encoder", action="append", required=True, metavar="RUN", help="a run of `distill`; repeatable"
    )
    parser.add_argument("--teacher", metavar="NAME", help="which teacher (the first run's first one)")
    parser.add_argument(
        "--ridge-steps",
        type=int,
        default=40,
        help="training batches the ridge regression sees; 0 for none (40)",
    )
    parser.add_argument(
        "--groups",
        action="append",
        default=[],
        metavar="SOURCE=REGEX",
        help="images of a held-out source that belong together (a camera, a scene): what REGEX matches in their names; "
        "^ for all of them. Intervals resample groups (the recipe's own rule, or each image alone); repeatable",
    )
    parser.add_argument("--out", type=Path, metavar="JSON", help="metrics file (RUN/distillation.json)")
    return parser


def parse(argv: list[str]) -> argparse.Namespace:
    return make_parser().parse_args(argv)

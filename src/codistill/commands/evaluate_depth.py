"""`codistill evaluate depth --head HEAD | --encoder E --data SPEC`: errors with intervals, pictures, comparisons."""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from codistill.commands import fit_depth
from codistill.commands.evaluation_output import (
    comparison,
    print_scores,
    read_per_image,
    write_evaluation,
)
from codistill.commands.head_options import ImageProgress, feature_config, make_runtime, needed_data
from codistill.errors import ConfigError
from codistill.metrics.depth import DEPTH_METRICS
from codistill.tasks.depth.data import DepthData, open_depth
from codistill.tasks.depth.evaluate import DepthResult, difference, evaluate_depth
from codistill.tasks.depth.fit import fit_depth as fit
from codistill.tasks.depth.predict import load_depth_estimator
from codistill.tasks.frozen.data import limited
from codistill.tasks.frozen.head_files import HeadRecord, is_head, read_record


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="codistill evaluate depth",
        description="Score a depth head. Without --head, one is fitted first (see `codistill fit depth`), in "
        "OUT/head. With --head, --encoder puts another encoder under it.",
    )
    parser.add_argument("--head", metavar="HEAD", help="a fitted head, or a released .pth file")
    parser.add_argument("--split", help="val or test (the world's test, val elsewhere: NYU's test list)")
    parser.add_argument("--no-mirror", action="store_true", help="do not average with the mirrored image")
    parser.add_argument("--limit", type=int, metavar="N", help="score N images, evenly spread (all)")
    parser.add_argument("--pictures", type=int, default=6, metavar="N", help="examples in pictures.png (6)")
    parser.add_argument("--against", type=Path, metavar="OUT", help="paired difference to an evaluation")
    parser.add_argument("--margin", type=float, help="call differences within ± margin equal (RMSE, metres)")
    parser.add_argument("--out", type=Path, metavar="OUT", help="folder of the results (HEAD/evaluation)")
    fit_depth.add_options(parser)
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
    config = fit_depth.config_of(arguments)
    if not fit(config, make_runtime(arguments, head, ["evaluate", "depth", *argv])):
        raise ConfigError(f"the fit in {head} was stopped before its end; the same command goes on")
    return head


def _data(arguments: argparse.Namespace, record: HeadRecord | None) -> DepthData:
    spec = arguments.data or (record.data["spec"] if record else needed_data(arguments))
    split = arguments.split or ("test" if spec.startswith("world:") else "val")
    data = open_depth(spec, split, partial=arguments.partial)
    return replace(data, samples=limited(data.samples, arguments.limit))


def main(argv: list[str]) -> int:
    """Run the command."""
    arguments = _parser().parse_args(argv)
    head = _head(arguments, argv)
    record = read_record(head, "depth") if is_head(head) or not head.is_file() else None
    data = _data(arguments, record)
    features = feature_config(arguments, fit_depth.NORM) if arguments.head else None
    estimator = load_depth_estimator(
        head, features=features, protocol=data.protocol, mirror=not arguments.no_mirror
    )
    out = arguments.out or head.with_suffix("") / "evaluation"
    runtime = make_runtime(arguments, out, [])
    with ImageProgress(f"measuring {data.spec} ({data.split})") as progress:
        result = evaluate_depth(
            estimator.to(runtime.device), data, pictures=arguments.pictures, progress=progress
        )
    print_scores(f"{estimator.features.config.encoder} on {data.spec} ({data.split})", result.intervals())
    limits = data.protocol
    numbers = {
        "task": "depth",
        "unit": "metres (rmse, sq_rel), shares (a1, a2, a3), 100 log (silog); means over images",
        "interval": "95 % percentile bootstrap over images",
        "data": data.spec,
        "split": data.split,
        "images": len(result.names),
        "encoder": estimator.features.describe(),
        "test": {
            "mirror": estimator.mirror,
            "scored_metres": [limits.nearest, limits.farthest],
            "scored_crop": limits.eval_crop,
        },
        "fit": record.fit if record else {"released": str(head)},
        **result.summary(),
    }
    if arguments.against is not None:
        scores, names = read_per_image(arguments.against, "scores")
        other = DepthResult(scores, names, [])
        numbers["comparison"] = comparison(
            arguments.against, "rmse", difference(result, other), arguments.margin
        )
    write_evaluation(
        out,
        numbers,
        {"scores": result.scores, "metrics": np.array(DEPTH_METRICS)},
        result.names,
        result.pictures,
        ["evaluate", "depth", *argv],
    )
    print(f"wrote {out}: metrics.json, per_image.npz{', pictures.png' if result.pictures else ''}")
    return 0

"""`codistill evaluate depth --head HEAD | --encoder E --data SPEC`: errors with intervals, pictures, comparisons."""

from dataclasses import replace

import numpy as np

from codistill.commands import fit_depth
from codistill.commands.evaluated_head import head_to_evaluate
from codistill.commands.evaluation_output import (
    as_array,
    comparison,
    print_scores,
    read_per_image,
    write_evaluation,
)
from codistill.commands.head_options import ImageProgress, make_runtime
from codistill.commands.parsers.evaluate_depth import parse
from codistill.metrics.depth import DEPTH_METRICS
from codistill.tasks.dense.depth.data import DepthData, open_depth
from codistill.tasks.dense.depth.evaluate import DepthResult, difference, evaluate_depth
from codistill.tasks.dense.depth.fit import fit_depth as fit
from codistill.tasks.dense.depth.predict import load_depth_estimator
from codistill.tasks.shared.data import check_data, limited


def main(argv: list[str]) -> int:
    """Run the command."""
    arguments = parse(argv)

    def opened(spec: str, split: str) -> DepthData:
        data = open_depth(spec, split, partial=arguments.partial)
        data = replace(data, samples=limited(data.samples, arguments.limit))
        check_data(data.samples, f"{spec} ({split})")
        return data

    head, data = head_to_evaluate(arguments, argv, "depth", fit_depth.config_of, fit, fit_depth.NORM, opened)
    estimator = load_depth_estimator(
        head.path,
        features=head.features,
        protocol=data.protocol,
        mirror=not arguments.no_mirror,
        other_encoder=arguments.other_encoder,
    )
    out = head.out(arguments.out)
    runtime = make_runtime(arguments, out, [])
    with ImageProgress(f"measuring {data.spec} ({data.split})") as progress:
        result = evaluate_depth(
            estimator.to(runtime.device), data, pictures=arguments.pictures, progress=progress
        )
    print_scores(
        f"{estimator.features.config.encoder} on {data.spec} ({data.split})",
        result.intervals(),
        result.groups,
    )
    limits = data.protocol
    numbers = {
        "task": "depth",
        "unit": "metres (rmse, sq_rel), shares (a1, a2, a3), 100 log (silog); means over images",
        "interval": result.groups.about(),
        "data": data.spec,
        "split": data.split,
        "images": len(result.names),
        "encoder": estimator.features.describe(),
        "test": {
            "mirror": estimator.mirror,
            "scored_metres": [limits.nearest, limits.farthest],
            "scored_crop": limits.eval_crop,
        },
        "fit": head.fit,
        **result.summary(),
    }
    if arguments.against is not None:
        scores, names = read_per_image(arguments.against, "scores")
        other = DepthResult(scores, names, result.groups, [])
        numbers["comparison"] = comparison(
            arguments.against, "rmse", difference(result, other), arguments.margin
        )
    write_evaluation(
        out,
        numbers,
        {"scores": result.scores, "metrics": np.array(DEPTH_METRICS), **as_array(result.groups)},
        result.names,
        result.pictures,
        ["evaluate", "depth", *argv],
    )
    print(f"wrote {out}: metrics.json, per_image.npz{', pictures.png' if result.pictures else ''}")
    return 0

"""`codistill evaluate multiview-pose --head DIR|--model FILE --data SPEC`: relative poses within sets of views."""

import argparse
from dataclasses import asdict

from codistill.commands.evaluate_multiview import add_options, open_data, open_predictor, write_result
from codistill.commands.head_options import ImageProgress
from codistill.commands.two_view_options import (
    add_robust_options,
    refuse_without_effect,
    robust_config,
)
from codistill.tasks.multiview.evaluate_pose import PoseProtocol, evaluate_pose
from codistill.tasks.multiview.predict import ESTIMATORS
from codistill.tasks.reconstruction.align import AlignConfig

TASK = "multiview-pose"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"codistill evaluate {TASK}",
        description="Relative poses of all pairs of some random views of every sequence, without given intrinsics: "
        "shares of rotations and of directions of translation within 5, 15 and 30 degrees, and mAA(30).",
    )
    add_options(parser)
    parser.add_argument(
        "--estimator",
        choices=ESTIMATORS,
        default=ESTIMATORS[0],
        help="matches and an essential matrix (MASt3R), PnP on points (DUSt3R), or the alignment of all views "
        "together (%(default)s)",
    )
    parser.add_argument("--frames", type=int, default=10, metavar="N", help="views of each sequence (10)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw of views (0)")
    parser.add_argument("--subsample", type=int, default=8, metavar="PX", help="distance of match seeds (8)")
    parser.add_argument("--iterations", type=int, help="of the alignment; 0 keeps its first guess (300)")
    add_robust_options(parser)
    return parser


def main(argv: list[str]) -> int:
    """Run the command."""
    arguments = _parser().parse_args(argv)
    estimator = arguments.estimator
    if estimator == "matches":
        refuse_without_effect(arguments, ("pnp",), "matches give an essential matrix")
    if estimator != "alignment":
        refuse_without_effect(arguments, ("iterations",), f"--estimator {estimator} aligns nothing")
    protocol = PoseProtocol(
        estimator=estimator,
        frames=arguments.frames,
        seed=arguments.seed,
        align=AlignConfig(iterations=300 if arguments.iterations is None else arguments.iterations),
        robust=robust_config(arguments),
    )
    data = open_data(arguments)
    predictor = open_predictor(arguments, arguments.subsample)
    with ImageProgress(f"locating views of {arguments.data} ({arguments.split})") as progress:
        result = evaluate_pose(predictor, data, protocol, progress)
    told = {**asdict(protocol), "pairs": int(result.weights.sum()), "subsample": arguments.subsample}
    write_result(arguments, TASK, predictor, result, told, argv)
    return 0

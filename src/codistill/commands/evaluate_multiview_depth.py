"""`codistill evaluate multiview-depth --head DIR|--model FILE --data SPEC`: depth of key views from their sources."""

import argparse
from dataclasses import asdict

from codistill.commands.evaluate_multiview import add_options, open_data, open_predictor, write_result
from codistill.commands.head_options import ImageProgress
from codistill.tasks.multiview.evaluate_depth import ALIGNMENTS, ORDERS, DepthProtocol, evaluate_depth

TASK = "multiview-depth"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"codistill evaluate {TASK}",
        description="Depth of a key view as the Robust MVD benchmark measures it: one pair with every source, the "
        "depths of growing sets of sources fused by confidence, the best set scored against the key's true depth.",
    )
    add_options(parser)
    parser.add_argument(
        "--sources",
        choices=ORDERS,
        default=ORDERS[0],
        help="order in which sources are added: by their own error, which uses the truth, or by their distance "
        "to the key in the list of views (%(default)s)",
    )
    parser.add_argument("--max-sources", type=int, metavar="N", help="sources at most (all)")
    parser.add_argument(
        "--alignment",
        choices=ALIGNMENTS,
        default=ALIGNMENTS[0],
        help="of the prediction to the truth (%(default)s)",
    )
    parser.add_argument("--pictures", type=int, default=6, metavar="N", help="samples in pictures.png (6)")
    return parser


def main(argv: list[str]) -> int:
    """Run the command."""
    arguments = _parser().parse_args(argv)
    protocol = DepthProtocol(
        order=arguments.sources,
        alignment=arguments.alignment,
        most=arguments.max_sources,
        pictures=arguments.pictures,
    )
    data = open_data(arguments, keys=True)
    predictor = open_predictor(arguments)
    with ImageProgress(f"measuring depth of {arguments.data} ({arguments.split})") as progress:
        result = evaluate_depth(predictor, data, protocol, progress)
    told = {
        **asdict(protocol),
        "scores": "relative, inliers: best of the growing sets; _all: all sources together",
    }
    write_result(arguments, TASK, predictor, result, told, argv)
    return 0

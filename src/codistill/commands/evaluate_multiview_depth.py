"""`codistill evaluate multiview-depth --head DIR|--model FILE --data SPEC`: depth of key views from their sources."""

from dataclasses import asdict

from codistill.commands.evaluate_multiview import open_data, open_predictor, write_result
from codistill.commands.head_options import ImageProgress
from codistill.commands.parsers.evaluate_multiview_depth import parse
from codistill.tasks.two_view.multiview.evaluate_depth import DepthProtocol, evaluate_depth

TASK = "multiview-depth"


def main(argv: list[str]) -> int:
    """Run the command."""
    arguments = parse(argv)
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

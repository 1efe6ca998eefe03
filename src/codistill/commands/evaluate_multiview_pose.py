"""`codistill evaluate multiview-pose --head DIR|--model FILE --data SPEC`: relative poses within sets of views."""

from dataclasses import asdict

from codistill.commands.evaluate_multiview import open_data, open_predictor, write_result
from codistill.commands.head_options import ImageProgress
from codistill.commands.parsers.evaluate_multiview_pose import parse
from codistill.commands.parsers.two_view_options import robust_config
from codistill.tasks.two_view.multiview.evaluate_pose import PoseProtocol, evaluate_pose
from codistill.tasks.two_view.reconstruct.align import AlignConfig

TASK = "multiview-pose"


def main(argv: list[str]) -> int:
    """Run the command."""
    arguments = parse(argv)
    protocol = PoseProtocol(
        estimator=arguments.estimator,
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

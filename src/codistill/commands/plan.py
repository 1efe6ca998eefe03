"""`codistill plan RECIPE --gpus N`: operations, hours, loader cores and cost of a recipe, with the arithmetic shown."""

import argparse

from codistill.commands.distill import resolve_recipe
from codistill.errors import ConfigError
from codistill.recipes.plan import GPUS, PER_MACHINE, plan_run, work_of

EPILOG = """\
RECIPE comes first; every field can be overridden, as in `codistill distill`. Nothing is loaded or downloaded.
Better than the assumed utilization is a measured rate: the operations of a step over its time, as
`codistill bench step RECIPE --device cuda` prints them, as --tflops.
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="codistill plan",
        usage="codistill plan RECIPE [options] [any field of the recipe]",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("recipe", metavar="RECIPE", help="known name, saved .yaml, or file.py:NAME")
    parser.add_argument("--gpus", type=int, default=8, metavar="N", help="how many (8)")
    parser.add_argument("--gpu", default="h100", choices=tuple(GPUS), help="which (h100)")
    parser.add_argument(
        "--utilization", type=float, default=0.29, help="part of the peak that is reached (0.29)"
    )
    parser.add_argument(
        "--tflops", type=float, help="operations per second reached, in place of the two above"
    )
    parser.add_argument("--network", type=float, help="GB/s that a GPU sends, in place of the usual")
    parser.add_argument("--price", type=float, help="dollars per GPU and hour, in place of a round one")
    parser.add_argument(
        "--loader-rate", type=float, default=150, help="images/s of a core: bench loader (150)"
    )
    parser.add_argument(
        "--teacher", action="append", metavar="NAME,E", help="in place of the recipe's; repeatable"
    )
    parser.set_defaults(source=None, held_out=None, help_fields=False)
    return parser


def main(argv: list[str]) -> int:
    """Run the command."""
    arguments, overrides = _parser().parse_known_args(argv)
    recipe = resolve_recipe(arguments, overrides)
    gpu, gpus, batch = GPUS[arguments.gpu], arguments.gpus, recipe.loader.batch_size
    peak = gpu.peak * arguments.utilization if arguments.tflops is None else arguments.tflops * 1e12
    network = gpu.link if gpus <= PER_MACHINE else gpu.network
    network = network if arguments.network is None else arguments.network * 1e9
    price = gpu.price if arguments.price is None else arguments.price
    if min(gpus, peak, network, arguments.loader_rate) <= 0 or batch % gpus:
        raise ConfigError(
            f"rates and --gpus must be positive, and {gpus} GPUs must divide the batch of {batch}"
        )
    work = work_of(recipe)
    plan = plan_run(recipe, work, gpus, peak, network)
    seconds = plan.compute + plan.communication
    images = batch / gpus / seconds
    teachers = ", ".join(f"{name} {flops / 1e12:.3f}" for name, flops in work.teachers.items())
    reached = f"{peak / 1e12:.0f} TFLOP/s"
    lines = {
        "run": f"{plan.steps:,} steps of {batch} = {plan.steps * batch:,} images of {recipe.image_size} px",
        "an image": f"{work.total / 1e12:.3f} TFLOP: encoder {work.encoder / 1e12:.3f}, projectors "
        f"{work.projectors / 1e12:.3f} (both with backward), teachers: {teachers}",
        "compute": f"{batch // gpus} images × {work.total / 1e12:.3f} TFLOP / {reached} = {plan.compute * 1e3:.1f} ms",
        "communication": f"2 × {gpus - 1}/{gpus} × {work.gradient_bytes / 1e6:.0f} MB / {network / 1e9:.0f} GB/s = "
        f"{plan.communication * 1e3:.1f} ms, if none of it hides behind the backward pass",
        "step": f"{seconds * 1e3:.1f} ms, {images * gpus:,.0f} images/s",
        "loader": f"{images:.0f} images/s for a GPU / {arguments.loader_rate:.0f} images/s of a core = "
        f"{images / arguments.loader_rate:.1f} cores for each GPU",
        "wall clock": f"{plan.hours:.1f} h = {plan.hours * gpus:,.0f} GPU hours, ${plan.hours * gpus * price:,.0f} "
        f"at ${price:.2f}",
    }
    print(f"{recipe.name} on {gpus} × {arguments.gpu}, {reached} each")
    for name, text in lines.items():
        print(f"  {name:<14} {text}")
    return 0

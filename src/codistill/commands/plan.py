"""`codistill plan RECIPE --gpus N`: operations, hours, loader cores and cost of a recipe, and how they follow."""

import json
import math

from codistill.commands.distill import resolve_recipe
from codistill.commands.parsers.plan import parse
from codistill.errors import ConfigError
from codistill.recipes.plan import GPUS, PER_MACHINE, earlier_stages, plan_run, work_of
from codistill.recipes.registry import RECIPES


def main(argv: list[str]) -> int:
    arguments, overrides = parse(argv)
    recipe = resolve_recipe(arguments, overrides)
    gpu, gpus, batch = GPUS[arguments.gpu], arguments.gpus, recipe.loader.batch_size
    peak = gpu.peak * arguments.utilization if arguments.tflops is None else arguments.tflops * 1e12
    network = gpu.link if gpus <= PER_MACHINE else gpu.network
    network = network if arguments.network is None else arguments.network * 1e9
    price = gpu.price if arguments.price is None else arguments.price
    rates = (gpus, peak, network, arguments.loader_rate, arguments.utilization)
    if not all(0 < rate < math.inf for rate in rates) or not 0 <= price < math.inf:
        raise ConfigError("rates and --gpus must be positive, and --price 0 or more")
    if arguments.utilization > 1:
        raise ConfigError("--utilization is a part of the peak: it must be positive, and at most 1")
    if batch % gpus:
        raise ConfigError(
            f"{gpus} GPUs must divide the batch of {batch}: add --gpus N, or --loader.batch-size N"
        )
    work = work_of(recipe, RECIPES)
    plan = plan_run(recipe, work, gpus, peak, network)
    seconds = plan.compute + plan.communication
    images = work.images / gpus / seconds
    before = {
        stage.name: plan_run(stage, work_of(stage, RECIPES), gpus, peak, network).hours
        for stage in earlier_stages(recipe, RECIPES)
    }
    if arguments.json:
        numbers = {
            "recipe": recipe.name,
            "gpu": arguments.gpu,
            "gpus": gpus,
            "flops_per_second_and_gpu": peak,
            "steps": plan.steps,
            "images_per_step": work.images,
            "image_size": recipe.image_size,
            "image_sizes": list(recipe.image_sizes),
            "flops_per_image": {
                "encoder": work.encoder,
                "projectors": work.projectors,
                "teachers": dict(work.teachers),
            },
            "compute_seconds": plan.compute,
            "communication_seconds": plan.communication,
            "step_seconds": seconds,
            "images_per_second": images * gpus,
            "loader_cores_per_gpu": images / arguments.loader_rate,
            "hours": plan.hours,
            "gpu_hours": plan.hours * gpus,
            "dollars": plan.hours * gpus * price,
            "hours_of_stages_before": before,
        }
        print(json.dumps(numbers, indent=2))
        return 0
    teachers = ", ".join(f"{name} {flops / 1e12:.3f}" for name, flops in work.teachers.items())
    reached = f"{peak / 1e12:.0f} TFLOP/s"
    sizes = recipe.image_sizes or (recipe.image_size,)
    pixels = f"{', '.join(str(size) for size in sizes)} px"
    lines = {
        "run": f"{plan.steps:,} steps of {_count(work.images)} = {plan.steps * work.images:,.0f} images of {pixels}",
        "an image": f"{work.total / 1e12:.3f} TFLOP: encoder {work.encoder / 1e12:.3f}, projectors "
        f"{work.projectors / 1e12:.3f} (both with backward), teachers: {teachers}",
        "compute": f"{_count(work.images / gpus)} images × {work.total / 1e12:.3f} TFLOP / {reached} = "
        f"{plan.compute * 1e3:.1f} ms",
        "communication": f"2 × {gpus - 1}/{gpus} × {work.gradient_bytes / 1e6:.0f} MB / {network / 1e9:.0f} GB/s = "
        f"{plan.communication * 1e3:.1f} ms, if none of it hides behind the backward pass",
        "step": f"{seconds * 1e3:.1f} ms, {images * gpus:,.0f} images/s",
        "loader": f"{images:.0f} images/s for a GPU / {arguments.loader_rate:.0f} images/s of a core = "
        f"{images / arguments.loader_rate:.1f} cores for each GPU",
        "wall clock": f"{_cost(plan.hours, gpus, price)} at ${price:.2f}",
    }
    if before:
        each = ", ".join(f"{name} {hours:.1f} h" for name, hours in before.items())
        lines["stages before"] = f"{each} (as they ship)"
        lines["all stages"] = _cost(plan.hours + sum(before.values()), gpus, price)
    print(f"{recipe.name} on {gpus} × {arguments.gpu}, {reached} each")
    for name, text in lines.items():
        print(f"  {name:<14} {text}")
    return 0


def _cost(hours: float, gpus: int, price: float) -> str:
    return f"{hours:.1f} h = {hours * gpus:,.0f} GPU hours, ${hours * gpus * price:,.0f}"


def _count(images: float) -> str:
    """Text of a number: without decimals if it is whole, else with one."""
    return str(round(images)) if float(images).is_integer() else f"{images:,.1f}"

"""`codistill bench step [RECIPE]`: the time of a distillation step, and the floor that its products set."""

from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from codistill.bench.machine import where
from codistill.bench.step import StepReport, bench_step
from codistill.bench.timing import prepare, ratio
from codistill.commands.bench_output import write_numbers
from codistill.commands.distill import resolve_recipe
from codistill.commands.parsers.bench_step import parse
from codistill.engine.distributed import choose_device
from codistill.engine.logging import peak_memory
from codistill.errors import ConfigError
from codistill.files.config import fixed_part
from codistill.recipes.recipe import Recipe

BUSY = 0.9


def main(argv: list[str]) -> int:
    arguments, overrides = parse(argv)
    if arguments.threads < 1 or arguments.rounds < 1:
        raise ConfigError(
            f"--threads and --rounds must be positive; got {arguments.threads} and {arguments.rounds}"
        )
    recipe = resolve_recipe(arguments, overrides)
    device = choose_device(arguments.device)
    prepare(arguments.threads)
    compare = None if arguments.compare == "nothing" else arguments.compare
    report = bench_step(
        recipe,
        device,
        rounds=arguments.rounds,
        compare=compare,
        peak=partial(peak_memory, device),
        published=arguments.against == "published-like",
    )
    _print(recipe, report, device, compare)
    write_numbers(arguments.json, "step", _numbers(recipe, report, device, compare), argv)
    return 0


def _print(recipe: Recipe, report: StepReport, device: torch.device, compare: str | None) -> None:
    console = Console()
    step, images = report.step, recipe.loader.batch_size
    console.print(
        f"[bold]{recipe.name}[/bold]: {recipe.student.size}/{recipe.student.patch_size} from "
        f"{len(recipe.teachers)} teachers, {recipe.image_size} px, {images} images, sharing "
        f"{recipe.distill.sharing.mode}; {where(device)}",
        highlight=False,
    )
    table = Table(box=SIMPLE, show_header=False, pad_edge=False)
    table.add_row("step", f"{step.wall:.3f} s", f"{images / step.wall:.1f} images/s")
    for name, seconds in {**step.phases, "rest": step.wall - sum(step.phases.values())}.items():
        table.add_row(f"  {name}", f"{seconds:.3f} s", f"{seconds / step.wall:.0%}")
    table.add_row(
        "operations", f"{report.flops / 1e9:.1f} GFLOP", f"products: {report.product_flops / 1e9:.1f}"
    )
    table.add_row(
        "rate of its own products",
        f"{report.rate / 1e9:.1f} GFLOP/s",
        f"a 2048³ product: {report.square_rate / 1e9:.1f}",
    )
    table.add_row("floor", f"{report.floor:.3f} s", "operations / rate")
    table.add_row("[bold]time / floor", f"[bold]{step.wall / report.floor:.2f}", "")
    if device.type == "cpu":
        table.add_row("  by processor time", f"{step.cpu / report.floor_cpu:.2f}", f"{step.cpu:.3f} s")
        table.add_row(
            "  each product by the faster of BLAS and oneDNN",
            f"{step.wall / report.floor_fastest:.2f}",
            f"{report.floor_fastest:.3f} s",
        )
        table.add_row(
            "  over all products in a row",
            f"{step.wall / report.replayed:.2f}",
            f"by processor time {step.cpu / report.replayed_cpu:.2f}",
        )
    if report.published is not None:
        clocks = ("walls", "cpus") if device.type == "cpu" else ("walls",)
        for clock, text in zip(clocks, ("published-like step (fp32)", "  by processor time"), strict=False):
            theirs, ours = getattr(report.published, clock), getattr(step, clock)
            table.add_row(text, f"{min(theirs):.3f} s", f"{ratio(theirs, ours)} times the step above")
    table.add_row("peak memory", f"{report.peak_gib:.2f} GiB", "")
    if report.compared is not None:
        other, floor = report.compared
        what = {"int8": "int8 teachers", "blas": "linear layers by BLAS"}.get(
            compare or "", f"sharing {compare}"
        )
        table.add_row(what, f"{other.wall:.3f} s", f"{other.wall / step.wall:.2f} of the step above")
        table.add_row(
            "  its teachers", f"{other.phases['teachers']:.3f} s", f"{step.phases['teachers']:.3f} s above"
        )
        table.add_row("  by processor time", f"{other.cpu:.3f} s", f"{other.cpu / step.cpu:.2f}")
        if floor is not None:
            table.add_row("  time / its own floor", f"{other.wall / floor:.2f}", "")
    console.print(table)
    if report.share is not None and report.share < BUSY:
        console.print(
            f"This process got {report.share:.0%} of its threads' time: the machine had other work. Measure again on "
            "a quiet machine; or with --threads 1, where the ratios by processor time can be believed (several "
            "threads also spend it waiting for each other)."
        )


def _numbers(recipe: Recipe, report: StepReport, device: torch.device, compare: str | None) -> dict[str, Any]:
    step = report.step
    numbers: dict[str, Any] = {
        **asdict(report),
        "time_over_floor": report.step.wall / report.floor,
        "time_over_floor_fastest": report.step.wall / report.floor_fastest,
        "cpu_over_floor": report.step.cpu / report.floor_cpu,
        "time_over_replayed": report.step.wall / report.replayed,
        "cpu_over_replayed": report.step.cpu / report.replayed_cpu,
        "machine": where(device),
        "recipe": fixed_part(recipe),
    }
    numbers.pop("compared")
    if report.published is not None:
        numbers["published_over_step"] = asdict(ratio(report.published.walls, step.walls))
        numbers["published_over_step_cpu"] = asdict(ratio(report.published.cpus, step.cpus))
    if report.compared is not None:
        other, floor = report.compared
        numbers["compared"] = {
            {"int8": "teachers", "blas": "products"}.get(compare or "", "sharing"): compare,
            **asdict(other),
            "floor": floor,
            "time_over_step": other.wall / report.step.wall,
            "cpu_over_step": other.cpu / report.step.cpu,
        }
    return numbers

"""`codistill bench perception`: the cost of one encoder for all heads, compared with an encoder for each head."""

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from codistill.bench.machine import where
from codistill.bench.perception import Cost, bench_perception, published_costs, way_costs
from codistill.bench.timing import prepare
from codistill.commands.bench_output import write_numbers
from codistill.commands.parsers.bench_perception import parse
from codistill.engine.distributed import choose_device
from codistill.perception.perception import Perception
from codistill.perception.pretrained import find_perception


def main(argv: list[str]) -> int:
    arguments = parse(argv)
    prepare(arguments.threads)
    numbers = _published(arguments) if arguments.perception is None else _own(arguments)
    write_numbers(arguments.json, "perception", numbers, argv)
    return 0


def _published(arguments: argparse.Namespace) -> dict[str, object]:
    device, console = choose_device(arguments.device), Console()
    size = arguments.size or 448
    said = Console(stderr=True)
    costs = published_costs(
        size,
        rounds=arguments.rounds,
        device=device,
        progress=lambda name: said.print(name, highlight=False),
    )
    pairs, singles = way_costs(costs), way_costs(costs, ("classes", "bodies"))
    console.print(f"{where(device)}; two images of {size} pixels, random weights", highlight=False)
    console.print(_costs_table("part", costs))
    console.print(_ways_table("classes, bodies, points of a pair", pairs))
    console.print(_ways_table("classes, bodies", singles))
    return {
        "machine": where(device),
        "size": size,
        "rounds": arguments.rounds,
        "parts": _plain(costs),
        "ways": _plain(pairs),
        "ways_without_pairs": _plain(singles),
        "share_of_the_teachers": _shares(pairs),
        "share_of_the_teachers_without_pairs": _shares(singles),
    }


def _plain(costs: Mapping[str, Cost]) -> dict[str, object]:
    return {name: asdict(cost) for name, cost in costs.items()}


def _shares(ways: Mapping[str, Cost]) -> dict[str, float | None]:
    """Ratio of the first configuration's cost to the last one's, by measure."""
    one, teachers = next(iter(ways.values())), list(ways.values())[-1]
    pairs = {
        "flops": (one.flops, teachers.flops),
        "parameters": (one.parameters, teachers.parameters),
        "cpu_seconds": (one.cpu_seconds, teachers.cpu_seconds),
    }
    return {name: None if a is None or not b else round(a / b, 4) for name, (a, b) in pairs.items()}


def _costs_table(title: str, costs: Mapping[str, Cost]) -> Table:
    table = Table(title, "GFLOP", "M weights", "seconds")
    for name, cost in costs.items():
        seconds = "" if cost.cpu_seconds is None else f"{cost.cpu_seconds:.2f}"
        table.add_row(name, f"{cost.flops / 1e9:.1f}", f"{cost.parameters / 1e6:.1f}", seconds)
    return table


def _ways_table(title: str, ways: Mapping[str, Cost]) -> Table:
    """Table of all configurations, with their costs relative to the last one."""
    table = Table(title, "GFLOP", "share", "M weights", "share", "seconds", "share")
    last = list(ways.values())[-1]
    for name, cost in ways.items():
        seconds = ("", "")
        if cost.cpu_seconds is not None and last.cpu_seconds:
            seconds = (f"{cost.cpu_seconds:.2f}", f"{cost.cpu_seconds / last.cpu_seconds:.2f}")
        flops = (f"{cost.flops / 1e9:.1f}", f"{cost.flops / last.flops:.2f}")
        weights = (f"{cost.parameters / 1e6:.1f}", f"{cost.parameters / last.parameters:.2f}")
        table.add_row(name, *flops, *weights, *seconds)
    return table


def _own(arguments: argparse.Namespace) -> dict[str, object]:
    config = find_perception(arguments.perception)
    perception = Perception.from_config(config, device=choose_device(arguments.device))
    heads = perception.heads
    images = [Path(image) for image in arguments.image]
    speed = bench_perception(perception, images, rounds=arguments.rounds)
    console = Console()
    kind = "processor" if perception.device.type == "cpu" else "wall-clock"
    console.print(
        f"{where(perception.device)}; {len(images)} image{'s' if len(images) > 1 else ''} at {perception.size} pixels",
        highlight=False,
    )
    table = Table("", f"{kind} seconds")
    table.add_row("one encoder, every head", f"{speed.together:.3f}")
    table.add_row("an encoder for each head", f"{speed.apart:.3f}")
    for name, seconds in speed.alone.items():
        table.add_row(f"  {name}", f"{seconds:.3f}")
    console.print(table)
    console.print(f"share {speed.together / speed.apart:.2f}", highlight=False)
    return {
        "machine": where(perception.device),
        "encoder": perception.named_shortly,
        "heads": {
            name: {"task": facts.task, "parameters": facts.parameters} for name, facts in heads.items()
        },
        "size": perception.size,
        "images": len(images),
        "clock": kind,
        **asdict(speed),
        "share": round(speed.together / speed.apart, 4),
    }

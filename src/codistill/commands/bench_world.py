"""`codistill bench world`: pictures per second of the embedded world, and processor time per picture."""

import os

from rich.console import Console
from rich.table import Table

from codistill.bench.world import bench_world
from codistill.commands.bench_output import write_numbers
from codistill.commands.parsers.bench_world import parse
from codistill.errors import ConfigError, unknown_name
from codistill.world.identity import DOMAINS, VIEWS

WANTED = {224: 4.0, 112: 12.0}
"""Pictures per second on two cores that the project guarantees, by size."""


def main(argv: list[str]) -> int:
    arguments = parse(argv)
    domains = tuple(arguments.domains.split(","))
    for domain in domains:
        if domain not in DOMAINS:
            raise ConfigError(unknown_name("domain", domain, DOMAINS))
        if arguments.images < VIEWS[domain]:
            raise ConfigError(
                f"--images {arguments.images}: a scene of {domain} has {VIEWS[domain]} pictures; give at least as many"
            )
    workers = arguments.workers or len(os.sched_getaffinity(0))
    load, wanted = os.getloadavg()[0], WANTED.get(arguments.size)
    title = f"{arguments.size} px, {workers} processes"
    table = Table("domain", "pictures/s", "processor s/picture", "kB/picture", title=title)
    numbers = bench_world(domains, arguments.images, arguments.size, workers)
    for domain, one in numbers.items():
        table.add_row(
            domain,
            f"{one['pictures_per_second']:.2f}",
            f"{one['processor_seconds_per_picture']:.3f}",
            f"{one['bytes_per_picture'] / 1000:.0f}",
        )
    seconds = sum(one["pictures"] / one["pictures_per_second"] for one in numbers.values())
    overall = sum(one["pictures"] for one in numbers.values()) / seconds
    table.add_row("all", f"{overall:.2f}", "", "")
    Console().print(table)
    print(
        f"load of the machine before: {load:.1f} on {os.cpu_count()} cores"
        + (f"; wanted: {wanted} pictures/s on two idle cores" if wanted else "")
    )
    facts = {"size": arguments.size, "workers": workers, "load_before": load}
    facts |= {"pictures_per_second": overall, "domains": numbers}
    write_numbers(arguments.json, "world", facts, argv)
    return 0

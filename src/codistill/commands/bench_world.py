"""`codistill bench world`: pictures per second of the embedded world, and the processor time that one takes."""

import os
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from rich.console import Console
from rich.table import Table

from codistill.commands.parsers.bench_world import parse
from codistill.errors import ConfigError, unknown_name
from codistill.tasks.shared.record import write_metrics
from codistill.world.compose import prepare_worker
from codistill.world.identity import DOMAINS, VIEWS, SceneId
from codistill.world.sample import encode_views, render_views

WANTED = {224: 4.0, 112: 12.0}
"""Pictures per second on two cores that the project promises, by size."""


def render_one(scene_id: SceneId, size: int) -> tuple[int, int, float]:
    """Pictures, bytes and processor seconds of one scene, encoded as for the disk."""
    start = time.process_time()
    samples = encode_views(scene_id, render_views(scene_id, size))
    size_of = sum(len(data) for _, members in samples for data in members.values())
    return len(samples), size_of, time.process_time() - start


def main(argv: list[str]) -> int:
    """Measure and print; the first scene of each worker (imports, Anny) is not counted."""
    arguments = parse(argv)
    domains = tuple(arguments.domains.split(","))
    for domain in domains:
        if domain not in DOMAINS:
            raise ConfigError(unknown_name("domain", domain, DOMAINS))
    workers = arguments.workers or len(os.sched_getaffinity(0))
    table = Table(
        "domain",
        "pictures/s",
        "processor s/picture",
        "kB/picture",
        title=f"{arguments.size} px, {workers} processes",
    )
    load = os.getloadavg()[0]
    total, spent = 0, 0.0
    numbers: dict[str, dict[str, float]] = {}
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=prepare_worker) as pool:
        for domain in domains:
            scenes = [
                SceneId(seed=1, domain=domain, split="train", index=i)
                for i in range(arguments.images // VIEWS[domain])
            ]
            list(pool.map(render_one, scenes[:1] * workers * 2, [arguments.size] * workers * 2))
            start = time.perf_counter()
            results = list(pool.map(render_one, scenes, [arguments.size] * len(scenes)))
            seconds = time.perf_counter() - start
            pictures = sum(r[0] for r in results)
            total, spent = total + pictures, spent + seconds
            numbers[domain] = {
                "pictures": pictures,
                "pictures_per_second": pictures / seconds,
                "processor_seconds_per_picture": sum(r[2] for r in results) / pictures,
                "bytes_per_picture": sum(r[1] for r in results) / pictures,
            }
            table.add_row(
                domain,
                f"{pictures / seconds:.2f}",
                f"{numbers[domain]['processor_seconds_per_picture']:.3f}",
                f"{numbers[domain]['bytes_per_picture'] / 1000:.0f}",
            )
    wanted = WANTED.get(arguments.size)
    table.add_row("all", f"{total / spent:.2f}", "", "")
    Console().print(table)
    print(
        f"load of the machine before: {load:.1f} on {os.cpu_count()} cores"
        + (f"; wanted: {wanted} pictures/s on two idle cores" if wanted else "")
    )
    if arguments.json:
        facts = {"benchmark": "world", "size": arguments.size, "workers": workers, "load_before": load}
        write_metrics(
            arguments.json,
            {**facts, "pictures_per_second": total / spent, "domains": numbers},
            ["bench", "world", *argv],
        )
        print(f"wrote {arguments.json}")
    return 0

"""`codistill bench export FILE…`: exported files beside eager PyTorch, in turns on this machine, with memory."""

from dataclasses import asdict

import torch
from rich.console import Console
from rich.table import Table

from codistill.bench.export import ProgramSpeed, bench_export
from codistill.bench.machine import where
from codistill.bench.timing import CPU, prepare
from codistill.commands.bench_output import write_numbers
from codistill.commands.parsers.bench_export import parse
from codistill.errors import ConfigError
from codistill.files.disk import size_text


def main(argv: list[str]) -> int:
    arguments = parse(argv)
    if min(arguments.size, arguments.batch, arguments.threads, arguments.rounds) < 1:
        raise ConfigError("--size, --batch, --threads and --rounds must be positive")
    prepare(arguments.threads)
    speeds = bench_export(
        [path.expanduser() for path in arguments.files],
        size=arguments.size,
        batch=arguments.batch,
        rounds=arguments.rounds,
        compiled=arguments.compile,
        against=arguments.against,
    )
    console = Console()
    console.print(f"{where(CPU)}, batches of {arguments.batch} at {arguments.size} px", highlight=False)
    console.print(_table(speeds))
    numbers = {
        "machine": where(CPU),
        "size": arguments.size,
        "batch_size": arguments.batch,
        "rounds": arguments.rounds,
        "torch_threads": torch.get_num_threads(),
        "programs": [asdict(speed) for speed in speeds],
    }
    write_numbers(arguments.json, "export", numbers, argv)
    return 0


def _table(speeds: list[ProgramSpeed]) -> Table:
    table = Table("runtime", "numbers", "file", "size", "ms", "times as fast as the first", "peak memory")
    for speed in speeds:
        table.add_row(
            speed.runtime,
            speed.precision,
            speed.file,
            size_text(speed.file_bytes) if speed.file else "",
            f"{1000 * speed.seconds:.1f}",
            f"{speeds[0].seconds / speed.seconds:.2f}",
            size_text(speed.peak_bytes),
        )
    return table

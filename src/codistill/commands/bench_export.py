"""`codistill bench export FILE…`: time and memory of exported files compared with eager PyTorch, on this machine."""

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
    side = 1 if arguments.size is None else arguments.size
    if min(side, arguments.batch, arguments.threads, arguments.rounds) < 1:
        raise ConfigError("--size, --batch, --threads and --rounds must be positive")
    prepare(arguments.threads)
    (rows, columns), speeds = bench_export(
        [path.expanduser() for path in arguments.files],
        size=arguments.size,
        batch=arguments.batch,
        rounds=arguments.rounds,
        compiled=arguments.compile,
        against=arguments.against,
        memory=arguments.memory,
    )
    console = Console()
    console.print(f"{where(CPU)}, batches of {arguments.batch} at {rows}x{columns} px", highlight=False)
    console.print(_table(speeds))
    numbers = {
        "machine": where(CPU),
        "size": (rows, columns),
        "batch_size": arguments.batch,
        "rounds": arguments.rounds,
        "torch_threads": torch.get_num_threads(),
        "programs": [asdict(speed) for speed in speeds],
    }
    write_numbers(arguments.json, "export", numbers, argv)
    return 0


def _table(speeds: list[ProgramSpeed]) -> Table:
    measured = any(speed.peak_bytes for speed in speeds)
    titles = (
        "runtime",
        "numbers",
        "file",
        "size",
        "ms",
        "CPU ms",
        "times",
        *(["peak memory"] if measured else []),
    )
    table = Table(*titles, box=None, pad_edge=False, header_style="bold", caption_justify="left")
    for speed in speeds:
        table.add_row(
            speed.runtime,
            speed.precision,
            speed.file,
            size_text(speed.file_bytes) if speed.file else "",
            f"{1000 * speed.seconds:.1f}",
            f"{1000 * speed.cpu_seconds:.1f}",
            f"{speeds[0].cpu_seconds / speed.cpu_seconds:.2f}",
            *([size_text(speed.peak_bytes)] if measured else []),
        )
    table.caption = f"times: as fast as {speeds[0].runtime}, by processor time"
    return table

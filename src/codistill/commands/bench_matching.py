"""`codistill bench matching`: fast reciprocal compared with full mutual matching of two dense descriptor maps."""

from dataclasses import asdict

import torch
from rich.console import Console
from rich.table import Table

from codistill.bench.machine import where
from codistill.bench.matching import FULL, MATCHERS, MatcherSpeed, bench_matcher, made_descriptors
from codistill.commands.bench_output import write_numbers
from codistill.commands.parsers.bench_matching import parse
from codistill.engine.distributed import choose_device
from codistill.errors import ConfigError
from codistill.files.specs import parse_size


def main(argv: list[str]) -> int:
    arguments = parse(argv)
    if min(arguments.channels, arguments.threads) < 1 or arguments.noise < 0:
        raise ConfigError("--channels and --threads must be positive, --noise not negative")
    size = parse_size(arguments.size)
    device = choose_device(arguments.device)
    torch.set_num_threads(arguments.threads)
    maps = [part.to(device) for part in made_descriptors(size, arguments.channels, arguments.noise)]
    speeds = [
        bench_matcher(name, matcher, *maps)
        for name, matcher in MATCHERS.items()
        if name != FULL or not arguments.fast_only
    ]
    console = Console()
    where_text = f"{where(device)}, {arguments.threads} thread{'s' if arguments.threads > 1 else ''}"
    console.print(
        f"{where_text}; {size[1]}x{size[0]} descriptors of {arguments.channels} channels", highlight=False
    )
    console.print(_table(speeds))
    numbers = {
        "machine": where_text,
        "size": list(size),
        "channels": arguments.channels,
        "noise": arguments.noise,
        "matchers": [asdict(speed) for speed in speeds],
    }
    write_numbers(arguments.json, "matching", numbers, argv)
    return 0


def _table(speeds: list[MatcherSpeed]) -> Table:
    table = Table("matcher", "seconds", "matches", "< 1 px", "< 3 px", "< 5 px", "covered")
    for s in speeds:
        shares = (f"{100 * value:.1f} %" for value in (s.within_1, s.within_3, s.within_5, s.coverage))
        table.add_row(s.matcher, f"{s.seconds:.2f}", f"{s.matches}", *shares)
    return table

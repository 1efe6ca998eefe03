"""`codistill bench matching`: fast reciprocal against full mutual matching of two dense descriptor maps."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn.functional import normalize

from codistill.commands.bench_step import where
from codistill.commands.parsers.bench_matching import parse
from codistill.engine.distributed import choose_device
from codistill.errors import ConfigError
from codistill.files.specs import parse_size
from codistill.geometry.projection import pixel_grid
from codistill.heads.two_view.matching import (
    Matches,
    fast_reciprocal_matches,
    mutual_matches,
    symmetric_matches,
)
from codistill.metrics.matching import coverage, match_errors, shares_below
from codistill.tasks.shared.record import write_metrics

_TILT = ((0.92, -0.12, 24.0), (0.10, 0.95, -8.0), (1.5e-4, 1.0e-4, 1.0))
"""From pixels of the first map (at 512 columns) to those of the second."""


@dataclass(frozen=True, kw_only=True)
class MatcherSpeed:
    """One matcher's row: seconds, matches, shares of them within 1, 3, 5 pixels, share of the common view covered."""

    matcher: str
    seconds: float
    matches: int
    within_1: float
    within_3: float
    within_5: float
    coverage: float


def made_descriptors(
    size: tuple[int, int], channels: int, noise: float, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two descriptor maps (row, column, channel), the true second pixel of every first one, and its visibility."""
    draw = torch.Generator().manual_seed(seed)
    rows, columns = size
    waves = torch.randn(2, channels, generator=draw) * 0.25
    phases = torch.rand(channels, generator=draw) * 6.283
    grid = pixel_grid(rows, columns)
    scale = torch.tensor([columns / 512, columns / 512, 1.0])
    matrix = torch.diag(scale) @ torch.tensor(_TILT) @ torch.diag(1 / scale)

    def warped(pixels: Tensor, by: Tensor) -> Tensor:
        moved = torch.cat((pixels, torch.ones_like(pixels[..., :1])), dim=-1) @ by.T
        return moved[..., :2] / moved[..., 2:]

    def described(places: Tensor) -> Tensor:
        clean = normalize(torch.cos(places @ waves + phases), dim=-1)
        added = torch.randn(clean.shape, generator=draw) * noise / channels**0.5
        return normalize(clean + added, dim=-1)

    first, second = described(grid), described(warped(grid, torch.linalg.inv(matrix)))
    truth = warped(grid, matrix)
    inside = (truth >= 0) & (truth <= torch.tensor([columns - 1.0, rows - 1.0]))
    return first, second, truth, inside.all(-1)


def main(argv: list[str]) -> int:
    """Run the command."""
    arguments = parse(argv)
    if min(arguments.channels, arguments.threads) < 1 or arguments.noise < 0:
        raise ConfigError("--channels and --threads must be positive, --noise not negative")
    size = parse_size(arguments.size)
    device = choose_device(arguments.device)
    torch.set_num_threads(arguments.threads)
    maps = [part.to(device) for part in made_descriptors(size, arguments.channels, arguments.noise)]
    matchers: dict[str, Callable[[Tensor, Tensor], Matches]] = {
        "fast reciprocal, seeds every 16": lambda a, b: fast_reciprocal_matches(a, b, subsample=16),
        "fast reciprocal, seeds every 8": fast_reciprocal_matches,
        "both directions, seeds every 8": symmetric_matches,
        "fast reciprocal, seeds every 4": lambda a, b: fast_reciprocal_matches(a, b, subsample=4),
    }
    if not arguments.fast_only:
        matchers["full mutual"] = mutual_matches
    speeds = [_measured(name, matcher, *maps) for name, matcher in matchers.items()]
    console = Console()
    where_text = f"{where(device)}, {arguments.threads} thread{'s' if arguments.threads > 1 else ''}"
    console.print(
        f"{where_text}; {size[1]}x{size[0]} descriptors of {arguments.channels} channels", highlight=False
    )
    console.print(_table(speeds))
    if arguments.json:
        numbers = {
            "benchmark": "matching",
            "machine": where_text,
            "size": list(size),
            "channels": arguments.channels,
            "noise": arguments.noise,
            "matchers": [asdict(speed) for speed in speeds],
        }
        write_metrics(arguments.json, numbers, ["bench", "matching", *argv])
        console.print(f"wrote {arguments.json}")
    return 0


def _measured(
    name: str,
    matcher: Callable[[Tensor, Tensor], Matches],
    first: Tensor,
    second: Tensor,
    truth: Tensor,
    seen: Tensor,
) -> MatcherSpeed:
    _wait(first.device)
    started = time.perf_counter()
    found = matcher(first, second)
    _wait(first.device)
    seconds = time.perf_counter() - started
    errors = match_errors(found.pixels1, found.pixels2, truth, seen)
    shares = shares_below(errors, (1.0, 3.0, 5.0))
    return MatcherSpeed(
        matcher=name,
        seconds=round(seconds, 3),
        matches=len(found),
        within_1=shares[1.0],
        within_3=shares[3.0],
        within_5=shares[5.0],
        coverage=coverage(found.pixels1, errors, seen),
    )


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _table(speeds: list[MatcherSpeed]) -> Table:
    table = Table("matcher", "seconds", "matches", "< 1 px", "< 3 px", "< 5 px", "covered")
    for s in speeds:
        shares = (f"{100 * value:.1f} %" for value in (s.within_1, s.within_3, s.within_5, s.coverage))
        table.add_row(s.matcher, f"{s.seconds:.2f}", f"{s.matches}", *shares)
    return table

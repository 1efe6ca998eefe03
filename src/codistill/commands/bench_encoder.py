"""`codistill bench encoder E…`: images per second of any encoder at given sizes, beside the floor of its products."""

from dataclasses import asdict, dataclass

import torch
from rich.console import Console

from codistill.commands.bench_step import where
from codistill.commands.parsers.bench_encoder import parse
from codistill.encoders.base import Encoder
from codistill.encoders.load import load_encoder
from codistill.engine.distributed import choose_device
from codistill.engine.logging import peak_memory
from codistill.engine.parallel import compile_units
from codistill.errors import ConfigError
from codistill.nn.host_memory import keep_freed_memory
from codistill.nn.precision import autocast
from codistill.recipes.product_timer import Best, ProductTimer, measured
from codistill.recipes.step_bench import WARM_UP
from codistill.tasks.shared.record import write_metrics


@dataclass(frozen=True, kw_only=True)
class EncoderSpeed:
    """What was measured of one encoder at one size.

    Attributes:
        encoder, parameters: which.
        size, tokens: side of the images in pixels, and their patches.
        batch_size: images of a pass.
        seconds, cpu_seconds: of the shortest pass, by the clock and by the processor.
        flops: operations of a pass.
        floor, floor_cpu: seconds of these operations at the rate of the pass's own products.
    """

    encoder: str
    parameters: int
    size: int
    tokens: int
    batch_size: int
    seconds: float
    cpu_seconds: float
    flops: int
    floor: float
    floor_cpu: float

    @property
    def images_per_second(self) -> float:
        """Of the shortest pass."""
        return self.batch_size / self.seconds


def bench_encoder(
    name: str, encoder: Encoder, size: int, *, batch: int, precision: str, rounds: int, device: torch.device
) -> EncoderSpeed:
    """Measure an encoder at one size, rounded to its patches, in turns with its products alone."""
    patch = encoder.spec.patch_size
    side = max(1, round(size / patch))
    images = torch.randn(batch, 3, side * patch, side * patch, device=device)

    @torch.inference_mode()
    def run() -> None:
        with autocast(device, precision):  # type: ignore[arg-type]
            encoder(images)

    for _ in range(WARM_UP):
        run()
    best, products = Best(), ProductTimer(run, device)
    for _ in range(rounds):
        best.saw(*measured(run, device))
        products.measure()
    return EncoderSpeed(
        encoder=name,
        parameters=sum(p.numel() for p in encoder.parameters()),
        size=side * patch,
        tokens=side * side,
        batch_size=batch,
        seconds=best.wall,
        cpu_seconds=best.cpu,
        flops=products.flops,
        floor=products.floor(),
        floor_cpu=products.floor("cpu"),
    )


def main(argv: list[str]) -> int:
    """Run the command."""
    arguments = parse(argv)
    if min(arguments.batch, arguments.rounds, arguments.threads, *(arguments.size or [1])) < 1:
        raise ConfigError("--batch, --rounds, --threads and --size must be positive")
    device = choose_device(arguments.device)
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    console = Console()
    console.print(f"{where(device)}, batches of {arguments.batch}", highlight=False)
    found = []
    for name in arguments.encoders:
        encoder = load_encoder(name).to(device)
        count = sum(p.numel() for p in encoder.parameters())
        console.print(f"[bold]{name}[/bold]  {count / 1e6:.1f} M parameters", highlight=False)
        if arguments.compile:
            compile_units(encoder)
        for size in arguments.size or [224]:
            speed = bench_encoder(
                name,
                encoder,
                size,
                batch=arguments.batch,
                precision=arguments.precision,
                rounds=arguments.rounds,
                device=device,
            )
            found.append(speed)
            console.print(_lines(speed, device), highlight=False)
    console.print(f"peak memory {peak_memory(device):.2f} GiB", highlight=False)
    if arguments.json:
        numbers = {
            "benchmark": "encoder",
            "machine": where(device),
            "precision": arguments.precision,
            "compiled": arguments.compile,
            "encoders": [{**asdict(s), "images_per_second": s.images_per_second} for s in found],
        }
        write_metrics(arguments.json, numbers, ["bench", "encoder", *argv])
        console.print(f"wrote {arguments.json}")
    return 0


def _lines(speed: EncoderSpeed, device: torch.device) -> str:
    text = (
        f"  {speed.size} px, {speed.tokens} tokens: {speed.images_per_second:.3g} images/s, "
        f"{1000 * speed.seconds / speed.batch_size:.3g} ms and {speed.flops / speed.batch_size / 1e9:.3g} GFLOP each"
    )
    if not speed.floor:
        return text
    text += f"\n    time / floor {speed.seconds / speed.floor:.2f}"
    return text + (
        f" (by processor time {speed.cpu_seconds / speed.floor_cpu:.2f})" if device.type == "cpu" else ""
    )

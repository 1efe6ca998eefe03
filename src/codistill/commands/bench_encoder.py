"""`codistill bench encoder E…`: images per second of any encoder at given sizes, and the floor of its products."""

from dataclasses import asdict

import torch
from rich.console import Console

from codistill.bench.encoder import EncoderSpeed, bench_encoder, token_error
from codistill.bench.loader import small_images
from codistill.bench.machine import where
from codistill.bench.timing import prepare
from codistill.commands.bench_output import write_numbers
from codistill.commands.parsers.bench_encoder import parse
from codistill.encoders.frozen import FrozenViTEncoder
from codistill.encoders.load import load_encoder
from codistill.engine.distributed import choose_device
from codistill.engine.logging import peak_memory
from codistill.engine.parallel import compile_units
from codistill.errors import ConfigError
from codistill.nn.precision import Precision

AUTOCAST: dict[str, Precision] = {
    "auto": "auto",
    "exact": "fp32",
    "fp32": "fp32",
    "bf16": "fp32",
    "autocast": "bf16",
}
"""Precision of autocast around the pass, for each `--precision`."""


PHOTOGRAPHS = 8
"""Largest number of photographs on which tokens are compared."""


def main(argv: list[str]) -> int:
    arguments = parse(argv)
    if min(arguments.batch, arguments.rounds, arguments.threads, *(arguments.size or [1])) < 1:
        raise ConfigError("--batch, --rounds, --threads and --size must be positive")
    device = choose_device(arguments.device)
    prepare(arguments.threads)
    console = Console()
    console.print(f"{where(device)}, batches of {arguments.batch}", highlight=False)
    found, errors = [], []
    for name in arguments.encoders:
        precision = "exact" if arguments.precision == "autocast" else arguments.precision
        encoder = load_encoder(name, precision=precision, device=device)
        used = encoder.precision if isinstance(encoder, FrozenViTEncoder) else arguments.precision
        console.print(
            f"[bold]{name}[/bold]  {encoder.num_parameters / 1e6:.1f} M parameters, {used}", highlight=False
        )
        if arguments.compile:
            compile_units(encoder)
        for size in arguments.size or [224]:
            speed = bench_encoder(
                name,
                encoder,
                size,
                batch=arguments.batch,
                precision=AUTOCAST[arguments.precision],
                rounds=arguments.rounds,
                device=device,
                against_timm=arguments.against == "timm",
            )
            found.append(speed)
            console.print(_lines(speed, device), highlight=False)
            if arguments.images:
                exact = load_encoder(name, precision="exact", device=device)
                photographs = small_images(arguments.images, PHOTOGRAPHS)
                wrapped = AUTOCAST[arguments.precision]
                error = token_error(encoder, exact, photographs, size, wrapped, device)
                errors.append({"encoder": name, **asdict(error)})
                console.print(
                    f"  patch tokens of {error.images} photographs: relative error {error.relative:.2%}, cosine "
                    f"{error.cosine:.5f}, worst {error.cosine_worst:.4f}",
                    highlight=False,
                )
    console.print(f"peak memory {peak_memory(device):.2f} GiB", highlight=False)
    numbers = {
        "machine": where(device),
        "precision": arguments.precision,
        "compiled": arguments.compile,
        "token_errors": errors,
        "encoders": [{**asdict(s), "images_per_second": s.images_per_second} for s in found],
    }
    write_numbers(arguments.json, "encoder", numbers, argv)
    return 0


def _lines(speed: EncoderSpeed, device: torch.device) -> str:
    text = (
        f"  {speed.size} px, {speed.tokens} tokens: {speed.images_per_second:.3g} images/s, "
        f"{1000 * speed.seconds / speed.batch_size:.3g} ms and {speed.flops / speed.batch_size / 1e9:.3g} GFLOP each"
    )
    if speed.timm is not None and speed.timm_cpu is not None:
        text += f"\n    timm's, fp32: {speed.timm} times as long"
        text += f"; by processor time {speed.timm_cpu}" if device.type == "cpu" else ""
    if not speed.floor:
        return text
    text += f"\n    time / floor {speed.seconds / speed.floor:.2f}"
    return text + (
        f" (by processor time {speed.cpu_seconds / speed.floor_cpu:.2f})" if device.type == "cpu" else ""
    )

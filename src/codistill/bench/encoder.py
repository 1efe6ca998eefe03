"""An encoder's forward pass: an encoder and a size in, images per second and the floor of its products out."""

from dataclasses import dataclass

import torch

from codistill.bench.products import ProductTimer
from codistill.bench.timing import WARM_UP, Timed, take_turns
from codistill.encoders.base import Encoder
from codistill.nn.precision import autocast


@dataclass(frozen=True, kw_only=True)
class EncoderSpeed:
    """Measurements of one encoder at one size.

    Attributes:
        encoder, parameters: name and number of parameters.
        size, tokens: side of the images in pixels, and their patches.
        batch_size: images of a pass.
        seconds, cpu_seconds: of the shortest pass, wall-clock and processor time.
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
        """Images per second in the shortest pass."""
        return self.batch_size / self.seconds


def bench_encoder(
    name: str, encoder: Encoder, size: int, *, batch: int, precision: str, rounds: int, device: torch.device
) -> EncoderSpeed:
    """Measure an encoder at one size, rounded to whole patches, in turn with its products alone."""
    patch = encoder.spec.patch_size
    side = max(1, round(size / patch))
    images = torch.randn(batch, 3, side * patch, side * patch, device=device)

    @torch.inference_mode()
    def run() -> None:
        with autocast(device, precision):  # type: ignore[arg-type]
            encoder(images)

    for _ in range(WARM_UP):
        run()
    passes, products = Timed(run, device), ProductTimer(run, device)
    take_turns(rounds, passes.measure, products.measure)
    return EncoderSpeed(
        encoder=name,
        parameters=sum(p.numel() for p in encoder.parameters()),
        size=side * patch,
        tokens=side * side,
        batch_size=batch,
        seconds=passes.best.wall,
        cpu_seconds=passes.best.cpu,
        flops=products.flops,
        floor=products.floor(),
        floor_cpu=products.floor("cpu"),
    )

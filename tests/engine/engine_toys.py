"""Small objectives and batches for the engine's tests; as a program, a run that tests interrupt, kill and resume."""

import argparse
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn

from codistill.engine.distributed import Process, start_process
from codistill.engine.loop import EngineConfig, TrainSummary, train
from codistill.engine.objective import StepContext, StepResult
from codistill.engine.optim import OptimConfig
from codistill.nn.vit import VisionTransformer, ViTConfig
from codistill.types import BadImage, Batch

GLOBAL_BATCH = 8
SIDE = 8


def image_of(step: int, slot: int) -> Tensor:
    """The image in a slot of a step's global batch: a function of both alone."""
    generator = torch.Generator().manual_seed(step * 1009 + slot)
    return torch.randn(3, SIDE, SIDE, generator=generator)


def toy_batches(
    process: Process,
    total_steps: int,
    accumulate: int = 1,
    change: Callable[[int, Batch], Batch] = lambda step, batch: batch,
    delay: float = 0.0,
) -> Callable[[int], Iterable[Batch]]:
    """A factory of this rank's batches, each changed by `change(step, batch)`."""

    def from_step(start: int) -> Iterator[Batch]:
        count = GLOBAL_BATCH // (process.world_size * accumulate)
        for step in range(start, total_steps):
            for micro in range(accumulate):
                place = StepContext(
                    step=step,
                    total_steps=total_steps,
                    rank=process.rank,
                    world_size=process.world_size,
                    micro_step=micro,
                )
                slots = place.slots(count)
                time.sleep(delay)
                images = torch.stack([image_of(step, slot) for slot in slots])
                names = tuple(f"{step}/{slot}.jpg" for slot in slots)
                batch = Batch(images, ("generic",) * count, ("toy",) * count, names)
                yield change(step, batch)

    return from_step


def held_out_batches(process: Process, images: int, delay: float = 0.0) -> Iterator[Batch]:
    """This rank's batches of so many held-out images: all of one image, so ranks differ in their number."""
    for slot in range(process.rank, images, process.world_size):
        time.sleep(delay)
        yield Batch(image_of(10_000, slot)[None], ("generic",), ("held-out",), (f"{slot}.jpg",))


class TinyNetwork(nn.Module):
    """Two layers with normalization statistics (global, through the context) and a parameter that is never used."""

    running: Tensor

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.first = nn.Linear(3 * SIDE * SIDE, 16)
        self.second = nn.Linear(16, 2)
        self.mask_token = nn.Parameter(torch.ones(1, 3))
        self.register_buffer("running", torch.zeros(2))
        with torch.no_grad():
            for p in (*self.first.parameters(), *self.second.parameters()):
                p.copy_(0.1 * torch.randn(p.shape, generator=generator))

    def forward(self, images: Tensor) -> Tensor:
        return self.second(torch.tanh(self.first(images.flatten(1))))


class LinearObjective:
    """Predict two channel means of an image; the mean over the global batch."""

    def __init__(self) -> None:
        self.trainable: nn.Module = TinyNetwork()

    def to_device(self, device: Any) -> None:
        pass

    def step(self, model: nn.Module, batch: Batch, context: StepContext) -> StepResult:
        with context.phase("teachers"):
            target = batch.images.mean(dim=(2, 3))[:, :2]
        predicted = model(batch.images)
        loss = (predicted - target).square().mean()
        if "poison" in batch.names:
            loss = loss + float("nan")  # the loss alone: its gradients stay finite
        with torch.no_grad():
            mean = context.all_reduce_sum(target.mean(0)) / context.world_size
            self.trainable.running.lerp_(mean, 0.1)  # type: ignore[operator,union-attr]
        return StepResult(
            loss, {"loss": loss.detach(), "loss/first": (predicted - target)[:, 0].detach().square().mean()}
        )

    def evaluate(self, model: nn.Module, batches: Iterable[Batch], context: StepContext) -> dict[str, float]:
        sums = torch.zeros(2)
        for b in batches:
            sums += torch.tensor(
                [float((model(b.images) - b.images.mean(dim=(2, 3))[:, :2]).square().mean(1).sum()), len(b)]
            )
        error, images = context.all_reduce_sum(sums).tolist()
        return {"error": error / images, "images": images} if images else {}

    def describe(self) -> dict[str, Any]:
        return {"kind": "toy"}


class ViTObjective(LinearObjective):
    """Patch tokens of a tiny vision transformer, with stochastic depth, follow the patch's pixels."""

    def __init__(self) -> None:
        config = ViTConfig(
            dim=16,
            depth=2,
            num_heads=2,
            patch_size=4,
            image_size=SIDE,
            layer_scale=0.1,
            drop_path=0.3,
            num_registers=1,
        )
        torch.manual_seed(0)
        self.trainable = VisionTransformer(config)

    def step(self, model: nn.Module, batch: Batch, context: StepContext) -> StepResult:
        tokens = model(batch.images, norm=False)
        target = nn.functional.pixel_unshuffle(batch.images, 4).flatten(2).transpose(1, 2)[..., :16]
        loss = (tokens.patches - target).square().mean()
        return StepResult(loss, {"loss": loss.detach()})

    def evaluate(self, model: nn.Module, batches: Iterable[Batch], context: StepContext) -> dict[str, float]:
        return {}


OBJECTIVES: dict[str, type[LinearObjective]] = {"linear": LinearObjective, "vit": ViTObjective}


def run_toy(
    run_dir: Path,
    kind: str = "linear",
    *,
    process: Process | None = None,
    steps: int = 12,
    change: Callable[[int, Batch], Batch] = lambda step, batch: batch,
    delay: float = 0.0,
    objective: LinearObjective | None = None,
    held_out: Callable[[], Iterable[Batch]] | None = None,
    optim: OptimConfig | None = None,
    **options: Any,
) -> TrainSummary:
    """Train a toy objective for a few steps in a folder."""
    process = process or Process()
    config = EngineConfig(
        **{"total_steps": steps, "log_every": 4, "checkpoint_every": 3, "trackers": (), **options}
    )
    return train(
        objective or OBJECTIVES[kind](),
        toy_batches(process, steps, config.accumulate, change, delay),
        held_out or (lambda: toy_batches(process, 2)(0)),
        config=config,
        optim=optim or OptimConfig(lr=0.02, reference_batch=None),
        run_dir=run_dir,
        process=process,
        global_batch=GLOBAL_BATCH,
        console=Console(stderr=True, width=120),
    )


def with_bad_image(step: int, batch: Batch) -> Batch:
    """A batch in which one image was replaced, on every third step."""
    bad = (BadImage("toy", f"broken-{step}.jpg", "truncated"),) if step % 3 == 0 else ()
    return Batch(batch.images, batch.domains, batch.sources, batch.names, bad)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--kind", default="linear")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--strategy", default="ddp")
    parser.add_argument("--accumulate", type=int, default=1)
    parser.add_argument("--checkpoint-every", type=int, default=3)
    parser.add_argument("--stop-after", type=int)
    parser.add_argument("--nan-rank", type=int)
    parser.add_argument("--die-at", type=int, help="rank 1 exits before this step, once")
    parser.add_argument("--term-at", type=int, help="rank 1 gets SIGTERM before this step")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with start_process("cpu") as process:

        def change(step: int, batch: Batch) -> Batch:
            if args.nan_rank == process.rank and step == 2:
                return batch.with_images(batch.images * float("nan"))
            if args.nan_rank == process.rank and step == 3:
                return replace(batch, names=("poison",) * len(batch))
            if step == args.term_at and process.rank == 1:
                os.kill(os.getpid(), signal.SIGTERM)
            marker = args.run_dir / "died"
            if step == args.die_at and process.rank == 1 and not marker.exists():
                marker.touch()
                raise SystemExit(3)
            return with_bad_image(step, batch)

        summary = run_toy(
            args.run_dir,
            args.kind,
            process=process,
            steps=args.steps,
            delay=args.delay,
            change=change,
            strategy=args.strategy,
            accumulate=args.accumulate,
            checkpoint_every=args.checkpoint_every,
            stop_after=args.stop_after,
        )
        if process.is_main:
            print(summary, dict(process.traffic), flush=True)


if __name__ == "__main__":
    main()

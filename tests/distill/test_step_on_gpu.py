"""The step on a real GPU: the host never waits for it, and it computes what the CPU computes. Skipped without one."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch

from codistill.bench.step import BenchedStep
from codistill.distill.config import DistillConfig
from codistill.distill.losses import LossConfig
from codistill.distill.sharing import SharingConfig
from codistill.distill.targets import TargetConfig
from codistill.engine.optim import OptimConfig
from codistill.recipes.recipe import Recipe
from codistill.recipes.registry import find_recipe

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
SIZE, BATCH = 56, 12


def recipe_of(**changes: object) -> Recipe:
    debug = find_recipe("debug")
    small = replace(debug, image_size=SIZE, loader=replace(debug.loader, batch_size=BATCH))
    return replace(small, **changes)  # type: ignore[arg-type]


@contextmanager
def waiting_forbidden() -> Iterator[None]:
    """Anything that makes the host wait for the device raises, wherever it hides."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("clip", ["per_tensor", "global", "none"])
@pytest.mark.parametrize("sharing", ["full", "generic", "none"])
def test_the_host_never_waits(clip: str, sharing: str) -> None:
    recipe = recipe_of(
        optim=OptimConfig(clip=clip),  # type: ignore[arg-type]
        distill=DistillConfig(sharing=SharingConfig(mode=sharing)),  # type: ignore[arg-type]
    )
    step = BenchedStep(recipe, CUDA)
    step.run()
    torch.cuda.synchronize()
    with waiting_forbidden():
        step.run()
        step.run()


@pytest.mark.parametrize("fixed", [False, True])
def test_nor_with_the_options(fixed: bool) -> None:
    targets = TargetConfig(statistics="fixed", transform="phi_s") if fixed else TargetConfig()
    debug = find_recipe("debug")
    recipe = recipe_of(
        student=replace(debug.student, ema=0.9, drop_path=0.2),
        distill=DistillConfig(
            targets=targets, loss=LossConfig(summary={"angular": 1.0}), loss_normalizer="global"
        ),
    )
    step = BenchedStep(recipe, CUDA)
    step.run()
    torch.cuda.synchronize()
    with waiting_forbidden():
        step.run()


def test_waiting_is_noticed() -> None:
    number = torch.ones((), device=CUDA)
    with waiting_forbidden(), pytest.raises(RuntimeError, match="synchroniz"):
        number.item()


@pytest.mark.parametrize(
    ("precision", "compiled", "near"), [("fp32", False, 1e-4), ("fp32", True, 1e-4), ("bf16", False, 2e-2)]
)
def test_it_learns_what_the_cpu_learns(precision: str, compiled: bool, near: float) -> None:
    """Three steps of both on one batch: the losses agree, also after weights have moved."""

    def losses(device: torch.device, precision: str, compiled: bool) -> torch.Tensor:
        debug = find_recipe("debug")
        optim = OptimConfig(lr=1e-3, reference_batch=None, warmup_fraction=0)
        engine = replace(debug.engine, precision=precision, compile=compiled)  # type: ignore[arg-type]
        step = BenchedStep(recipe_of(engine=engine, optim=optim), device)
        return torch.stack([step.run()["loss"].float().cpu() for _ in range(3)])

    wanted = losses(CPU, "fp32", False)
    found = losses(CUDA, precision, compiled)
    torch.testing.assert_close(found, wanted, rtol=near, atol=0)
    assert wanted[-1] < wanted[0]

"""A whole training step, optimizer and clipping included, on the meta device: nothing may read a value.

A tensor there has no values, so whatever would make the host wait for a GPU (`.item()`, `nonzero`, a branch on a
tensor) fails. What the step copies from the host is counted; it must not wait either.
"""

import importlib
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from codistill.distill.config import DistillConfig
from codistill.distill.losses import LossConfig
from codistill.distill.objective import DistillationObjective
from codistill.distill.sharing import SharingConfig
from codistill.distill.targets import TargetConfig
from codistill.engine.distributed import Process
from codistill.engine.objective import StepContext
from codistill.engine.optim import OptimConfig, TrainOptimizer
from codistill.engine.signals import StopVote
from codistill.engine.step import TrainStep
from codistill.engine.timing import PhaseTimer
from codistill.recipes.build import build_bank
from codistill.recipes.fresh_student import build_student
from codistill.recipes.recipe import Recipe
from codistill.recipes.registry import find_recipe
from codistill.types import Batch

META = torch.device("meta")
SYNCING = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal", "unique", "masked_select", "item")


class HostTraffic(TorchDispatchMode):
    """Operations that read values, by name, and copies between devices, by shape."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[str] = []
        self.copies: list[tuple[int, ...]] = []
        self.calls = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        self.calls += 1
        name, options = func.overloadpacket.__name__, dict(kwargs or {})
        tensors = [a for a in args if isinstance(a, Tensor)]
        devices = {t.device for t in tensors}
        if any(word in name for word in SYNCING):
            self.reads.append(name)
        if (name == "_to_copy" and options.get("device") not in (None, *devices)) or (
            name == "copy_" and len(devices) > 1
        ):
            self.copies.append(tuple(tensors[-1].shape))
        return func(*args, **options)


@pytest.fixture(autouse=True)
def meta_as_an_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    optimizer = importlib.import_module("torch.optim.optimizer")
    monkeypatch.setattr(optimizer, "_get_fused_kernels_supported_devices", lambda: ["meta"])
    monkeypatch.setattr("codistill.engine.step.autocast", lambda *_: nullcontext())


def traffic_of(recipe: Recipe, domains: tuple[str, ...], accumulate: int = 1) -> HostTraffic:
    bank = build_bank(recipe)
    student, _ = build_student(recipe, bank.target_specs())
    objective = DistillationObjective(student, bank, recipe.distill)
    student.to(META).train()
    objective.to_device(META)
    optimizer = TrainOptimizer(student.named_parameters(), recipe.optim, total_steps=9, global_batch=12)
    process = Process(device=META)
    step = TrainStep(
        objective,
        student,
        optimizer,
        process=process,
        timer=PhaseTimer(torch.device("cpu")),
        vote=StopVote(process),
        context=partial(StepContext, total_steps=9, seed=1),
        precision="fp32",
    )
    images = torch.empty(len(domains), 3, 56, 56, device=META)
    batch = Batch(images, domains, domains, domains)
    step(0, [batch] * accumulate)
    with HostTraffic() as traffic:
        step(1, [batch] * accumulate)
    return traffic


MIXED = ("generic", "3d", "human") * 2
ORDERED = ("generic", "generic", "3d", "3d", "human", "human")


@pytest.mark.parametrize(
    ("clip", "sharing", "domains", "copies"),
    [
        ("per_tensor", "full", MIXED, 1),  # the draws of teacher dropping
        ("global", "none", ORDERED, 2),  # and who teaches what
        ("none", "none", MIXED, 2 + 3),  # and, where rows are no range, which they are
        ("per_tensor", "generic", MIXED, 2 + 3),
    ],
)
def test_nothing_is_read_and_few_small_things_are_copied(
    clip: str, sharing: str, domains: tuple[str, ...], copies: int
) -> None:
    debug = find_recipe("debug")
    recipe = replace(
        debug,
        optim=OptimConfig(clip=clip),  # type: ignore[arg-type]
        distill=DistillConfig(sharing=SharingConfig(mode=sharing)),  # type: ignore[arg-type]
    )
    traffic = traffic_of(recipe, domains)
    assert traffic.calls > 500
    assert traffic.reads == []
    assert len(traffic.copies) == copies
    assert all(torch.Size(shape).numel() <= 3 * len(domains) for shape in traffic.copies)


@pytest.mark.parametrize("fixed", [False, True])
def test_options_read_nothing_either(fixed: bool) -> None:
    debug = find_recipe("debug")
    targets = TargetConfig(statistics="fixed", transform="phi_s") if fixed else TargetConfig()
    recipe = replace(
        debug,
        student=replace(debug.student, ema=0.9, drop_path=0.2),
        teachers=tuple(replace(teacher, weight=2.0) for teacher in debug.teachers),
        distill=DistillConfig(
            targets=targets, loss=LossConfig(summary={"angular": 1.0}), loss_normalizer="global"
        ),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
        traffic = traffic_of(recipe, MIXED, accumulate=2)
    assert traffic.reads == []
    assert len(traffic.copies) == 2  # the draws of each micro-step

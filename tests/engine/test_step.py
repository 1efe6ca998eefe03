from functools import partial
from itertools import pairwise

import engine_toys
import pytest
import torch
from safetensors.torch import load_file
from torch.utils._python_dispatch import TorchDispatchMode

from codistill.engine.distributed import Process
from codistill.engine.logging import RunLog
from codistill.engine.objective import StepContext
from codistill.engine.optim import OptimConfig, TrainOptimizer
from codistill.engine.progress import ProgressDisplay
from codistill.engine.signals import StopVote
from codistill.engine.step import TrainStep, seed_generators
from codistill.nn.seeded import mixed
from codistill.types import Batch

SYNCING = (
    "_local_scalar_dense",
    "nonzero",
    "is_nonzero",
    "equal",
    "lift_fresh",
    "_pin_memory",
    "masked_select",
)


class HostSyncs(TorchDispatchMode):
    """Names of operations that would make the host wait for a device, or copy between the two."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.calls = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.calls += 1
        name = func.overloadpacket.__name__ if hasattr(func, "overloadpacket") else str(func)
        devices = {a.device for a in args if isinstance(a, torch.Tensor)}
        copies = name in ("_to_copy", "copy_") and ("device" in (kwargs or {}) or len(devices) > 1)
        if name in SYNCING or copies:
            self.found.append(name)
        return func(*args, **(kwargs or {}))


def step_of(kind: str, **optim) -> tuple[TrainStep, RunLog]:
    process = Process()
    objective = engine_toys.OBJECTIVES[kind]()
    config = OptimConfig(lr=0.02, reference_batch=None, warmup_fraction=0.0, **optim)
    optimizer = TrainOptimizer(objective.trainable.named_parameters(), config, total_steps=9, global_batch=8)
    log = RunLog(
        engine_toys.Path("unused"),
        process,
        every=9,
        learning_rates=optimizer.learning_rates,
        trackers=[],
        display=ProgressDisplay(9, 0, None),
    )
    step = TrainStep(
        objective,
        objective.trainable.train(),
        optimizer,
        process=process,
        timer=log.timer,
        vote=StopVote(process),
        context=partial(StepContext, total_steps=9, seed=1, phase=log.timer.phase),
        precision="auto",
    )
    return step, log


@pytest.mark.parametrize("kind", ["linear", "vit"])
@pytest.mark.parametrize("clip", ["per_tensor", "global", "none"])
def test_a_whole_step_never_waits_for_the_device(kind, clip):
    step, log = step_of(kind, clip=clip)
    data = iter(engine_toys.toy_batches(Process(), 9, accumulate=2)(0))
    batches = [[next(data), next(data)] for _ in range(3)]
    for index in range(2):
        log.add(index, step(index, batches[index]), batches[index])
    syncs = HostSyncs()
    with syncs:
        log.add(2, step(2, batches[2]), batches[2])
    assert syncs.calls > 50 and syncs.found == []


def test_a_step_that_is_not_finite_leaves_parameters_moments_and_buffers():
    step, _ = step_of("linear")
    batches = list(engine_toys.toy_batches(Process(), 3)(0))
    first = step(0, [batches[0]])
    assert first["skipped"] == 0
    saved = {name: value.clone() for name, value in step.objective.trainable.state_dict().items()}
    moments = {name: value.clone() for name, value in step.optimizer.state_tensors().items()}
    poisoned = batches[1].with_images(batches[1].images.clone().fill_(torch.inf))
    metrics = step(1, [poisoned])
    assert metrics["skipped"] == 1
    for name, value in step.objective.trainable.state_dict().items():
        assert torch.equal(value, saved[name]), name
    assert all(torch.equal(value, moments[name]) for name, value in step.optimizer.state_tensors().items())
    assert step(2, [batches[2]])["skipped"] == 0
    assert not torch.equal(step.objective.trainable.running, saved["running"])


def test_micro_steps_average_like_one_batch():
    whole, parts = step_of("linear")[0], step_of("linear")[0]
    one = next(iter(engine_toys.toy_batches(Process(), 9)(0)))
    several = list(engine_toys.toy_batches(Process(), 1, accumulate=4)(0))
    a, b = whole(0, [one]), parts(0, several)
    torch.testing.assert_close(a["loss"], b["loss"])
    torch.testing.assert_close(a["gradient/mean"], b["gradient/mean"])
    for p, q in zip(
        whole.objective.trainable.parameters(), parts.objective.trainable.parameters(), strict=True
    ):
        torch.testing.assert_close(p, q)


def test_generators_depend_on_every_part_of_the_place():
    draws = set()
    places = [
        (0, 0, 0, 0),
        (1, 0, 0, 0),
        (0, 1, 0, 0),
        (0, 0, 1, 0),
        (0, 0, 0, 1),
        (0, 0, 1, 1),
        (1, 1, 0, 0),
    ]
    for seed, step, rank, micro in places:
        context = StepContext(step=step, total_steps=9, seed=seed, rank=rank, world_size=2, micro_step=micro)
        seed_generators(context)
        draws.add(torch.rand(()).item())
        seed_generators(context)
        assert torch.rand(()).item() in draws
    assert len(draws) == len(places)


@pytest.mark.parametrize("in_use", [False, True])
def test_a_gpu_s_generators_are_seeded_alike_once_it_is_in_use(in_use, monkeypatch):
    asked = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: in_use)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", asked.append)
    for step in (3, 4):
        seed_generators(StepContext(step=step, total_steps=9, seed=1))
    expected = [mixed(1, 3, 0, 0), mixed(1, 4, 0, 0)] if in_use else []
    assert asked == expected


def test_slots_cover_the_global_batch_once():
    places = [
        StepContext(step=0, total_steps=1, rank=rank, world_size=3, micro_step=micro)
        for rank in range(3)
        for micro in range(2)
    ]
    assert sorted(slot for place in places for slot in place.slots(4)) == list(range(24))
    assert list(places[2].slots(4)) == [1, 4, 7, 10]


def test_an_objective_that_follows_updates_sees_every_one_of_them_the_last_too(tmp_path):
    """An average of the weights that is saved after a step knows that step."""

    class Following(engine_toys.LinearObjective):
        def __init__(self) -> None:
            super().__init__()
            self.trainable.register_buffer("average", self.trainable.second.weight.detach().clone())

        def after_update(self, skipped) -> None:
            self.trainable.average.lerp_(self.trainable.second.weight.detach(), 0.5 * (1 - skipped))

    def poison(step: int, batch: Batch) -> Batch:
        return batch.with_images(batch.images * float("nan")) if step == 2 else batch

    engine_toys.run_toy(
        tmp_path,
        steps=4,
        checkpoint_every=1,
        keep_checkpoints=9,
        accumulate=2,
        objective=Following(),
        change=poison,
    )
    saved = [load_file(tmp_path / f"checkpoints/step_{step:08d}/model.safetensors") for step in (1, 2, 3, 4)]
    assert torch.equal(saved[2]["average"], saved[1]["average"])  # the third step is skipped
    for before, after in pairwise((saved[0], saved[1], saved[3])):
        torch.testing.assert_close(after["average"], before["average"].lerp(after["second.weight"], 0.5))

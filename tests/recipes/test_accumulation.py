"""Gradient accumulation: a step in parts is the step, whatever the order of its domains, on any number of ranks."""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codistill.data.mixing import MixConfig
from codistill.distill.config import DistillConfig
from codistill.distill.dropping import DroppingConfig
from codistill.distill.objective import DistillationObjective
from codistill.distill.sharing import SharingConfig
from codistill.engine.distributed import Process
from codistill.engine.objective import StepContext
from codistill.engine.optim import OptimConfig, TrainOptimizer
from codistill.engine.signals import StopVote
from codistill.engine.step import TrainStep
from codistill.engine.timing import PhaseTimer
from codistill.errors import ConfigError
from codistill.recipes.build import DataPart, build_objective, split_batch, training_batches
from codistill.recipes.recipe import Recipe
from codistill.recipes.registry import find_recipe
from codistill.types import Batch

DOMAINS = ("generic", "3d", "human")


def labelled(domains: list[str]) -> Batch:
    count = len(domains)
    names = tuple(f"{place}.jpg" for place in range(count))
    return Batch(torch.arange(float(count)).view(count, 1, 1, 1), tuple(domains), tuple(domains), names)


@given(st.lists(st.sampled_from(DOMAINS), min_size=1, max_size=40), st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_every_part_has_every_domain_in_the_batch_s_proportions(domains: list[str], parts: int) -> None:
    whole = labelled(domains * parts)
    cut = list(split_batch(whole, parts))
    for domain, count in Counter(whole.domains).items():
        shares = [part.domains.count(domain) for part in cut]
        assert set(shares) <= {count // parts, -(-count // parts)}
    assert [len(part) for part in cut] == [len(domains)] * parts
    assert sorted(name for part in cut for name in part.names) == sorted(whole.names)
    for part in cut:
        places = range(len(whole)) if part.places is None else part.places
        for row, place in zip(range(len(part)), places, strict=True):
            assert float(part.images[row]) == place and part.names[row] == whole.names[place]


def test_what_does_not_divide_is_refused() -> None:
    with pytest.raises(ConfigError, match="does not divide the 6 images"):
        list(split_batch(labelled(["a"] * 6), 4))


def test_a_batch_that_cannot_be_cut_is_refused_before_it_is_made() -> None:
    with pytest.raises(
        ConfigError, match=r"loader\.batch_size 12 .* 2 rank\(s\) times engine\.accumulate 4 = 8"
    ):
        training_batches(recipe(4), DataPart(world_size=2))


def recipe(accumulate: int, mix: MixConfig | None = None, **distill: object) -> Recipe:
    debug = find_recipe("debug")
    return replace(
        debug,
        mix=mix or MixConfig(),
        distill=replace(DistillConfig(loss_normalizer="global"), **distill),  # type: ignore[arg-type]
        engine=replace(debug.engine, accumulate=accumulate, total_steps=2),
    )


class Ranks:
    """Sums over ranks that are threads: each brings its tensor, all take the sum."""

    def __init__(self, count: int) -> None:
        self.barrier, self.brought = threading.Barrier(count), [torch.empty(0)] * count

    def sum(self, rank: int, tensor: torch.Tensor) -> torch.Tensor:
        self.brought[rank] = tensor.clone()
        self.barrier.wait()
        total = torch.stack(self.brought).sum(0)
        self.barrier.wait()
        return tensor.copy_(total)


class RankProcess(Process):
    """A process of several that talks through `Ranks`."""

    def __init__(self, ranks: Ranks, rank: int, world_size: int) -> None:
        super().__init__(rank=rank, world_size=world_size)
        object.__setattr__(self, "ranks", ranks)

    def all_reduce_sum(self, tensor: torch.Tensor, what: str = "") -> torch.Tensor:
        return self.ranks.sum(self.rank, tensor)  # type: ignore[attr-defined]


def first_step(one: Recipe, process: Process | None = None) -> Callable[[], tuple[dict, dict]]:
    """A rank's first step, ready to go: gradients and buffers after it, and its metrics."""
    process = process or Process()
    objective, _ = build_objective(one)
    model = objective.trainable.train()
    optimizer = TrainOptimizer(
        model.named_parameters(), OptimConfig(clip="none"), total_steps=2, global_batch=12
    )
    context = partial(
        StepContext,
        total_steps=2,
        rank=process.rank,
        world_size=process.world_size,
        all_reduce_sum=process.all_reduce_sum,
    )
    step = TrainStep(
        objective,
        model,
        optimizer,
        process=process,
        timer=PhaseTimer(torch.device("cpu")),
        vote=StopVote(process),
        context=context,
        precision="fp32",
    )
    part = DataPart(rank=process.rank, world_size=process.world_size)
    batches = list(training_batches(one, part)(0))[: one.engine.accumulate]

    def run() -> tuple[dict, dict]:
        metrics = step(0, batches)
        gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        return gradients | dict(model.named_buffers()), metrics

    return run


def assert_equal(found: torch.Tensor, wanted: torch.Tensor, name: str) -> None:
    # Random teachers' tokens hardly vary, so standardizing blows up the rounding that depends on how many images go in
    # at once: up to 0.4 % here. Parts of one domain each are off by half.
    scale = float(wanted.abs().max()) + 1e-12
    assert float((found - wanted).abs().max()) < 1e-2 * scale, name


WEIGHTED = MixConfig(mode="weighted", weights=(("generic", 1.0), ("3d", 1.0), ("human", 2.0)))
CASES = {
    "balanced": {},
    "interleaved": {"mix": WEIGHTED},
    "generic": {"sharing": SharingConfig(mode="generic"), "mix": WEIGHTED},
}


@pytest.mark.parametrize("case", CASES)
def test_a_step_in_parts_is_the_whole_step(case: str) -> None:
    """Targets, statistics, dropping, loss and gradients; so also of parts whose counts are uneven."""
    whole, metrics = first_step(recipe(1, **CASES[case]))()
    for parts in (4,) if case == "balanced" else (3,):
        found, others = first_step(recipe(parts, **CASES[case]))()
        torch.testing.assert_close(others["loss"], metrics["loss"], rtol=1e-4, atol=0)
        assert found.keys() == whole.keys()
        for name, tensor in whole.items():
            assert_equal(found[name], tensor, name)


def test_two_ranks_in_parts_are_one_whole_step() -> None:
    whole, metrics = first_step(recipe(1, mix=WEIGHTED))()
    ranks = Ranks(2)
    steps = [first_step(recipe(3, mix=WEIGHTED), RankProcess(ranks, rank, 2)) for rank in range(2)]
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda run: run(), steps))
    mean_loss = sum(found["loss"] for _, found in results) / 2
    torch.testing.assert_close(mean_loss, metrics["loss"], rtol=1e-4, atol=0)
    for name, tensor in whole.items():
        mean = (results[0][0][name] + results[1][0][name]) / 2  # DDP's gradients; buffers are equal on both
        assert_equal(mean, tensor, name)


def test_the_rank_s_own_normalizer_divides_each_part_by_its_own() -> None:
    """Without dropping every part has the same sum of coefficients: then this is the whole step as well."""
    plain = {"dropping": DroppingConfig(mode="none"), "loss_normalizer": "rank"}
    whole, parts = (first_step(recipe(accumulate, **plain))()[0] for accumulate in (1, 4))  # type: ignore[arg-type]
    for name, tensor in whole.items():
        assert_equal(parts[name], tensor, name)


def test_an_objective_prepares_once_for_all_parts() -> None:
    objective, _ = build_objective(recipe(1))
    assert isinstance(objective, DistillationObjective)
    batch = next(iter(training_batches(recipe(1), DataPart())(0)))
    context = StepContext(step=0, total_steps=2, micro_steps=3)
    statistics = objective.trainable.target_statistics
    before = {name: buffer.clone() for name, buffer in statistics.named_buffers()}
    ahead = objective.prepare(list(split_batch(batch, 3)), context)
    assert len({id(part.scales) for part in ahead}) == 1
    assert all(not torch.equal(buffer, before[name]) for name, buffer in statistics.named_buffers())

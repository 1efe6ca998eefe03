"""Benchmark of a recipe's distillation step: its real teachers, student, loss and optimizer on random images.

In: a recipe. Out: the time of a step, its phases, and its floor, which is the time of the step's operations at the rate
that this machine reaches on the step's own matrix products. Steps, products and comparisons are measured in turns, and
the best of several rounds counts, so that other work on the machine affects all of them alike.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from codistill.bench.machine import threads
from codistill.bench.products import ProductTimer
from codistill.bench.published_like import PublishedLikeStep
from codistill.bench.timing import WARM_UP, Best, Timed, measured, take_turns
from codistill.distill.objective import DistillationObjective
from codistill.engine.distributed import Process
from codistill.engine.objective import StepContext
from codistill.engine.optim import TrainOptimizer
from codistill.engine.parallel import compile_units, recompute_activations
from codistill.engine.signals import StopVote
from codistill.engine.step import TrainStep
from codistill.engine.timing import PhaseTimer
from codistill.errors import ConfigError
from codistill.nn.linear import left_to_blas
from codistill.nn.products import Operand, Product
from codistill.recipes.build import build_bank, compile_teachers, split_batch
from codistill.recipes.fresh_student import build_student
from codistill.recipes.recipe import Recipe
from codistill.recipes.sizes import crop_of_step, view_plan
from codistill.teachers.bank import TeacherBank
from codistill.types import Batch


class BenchedStep:
    """One recipe's optimizer step on a fixed batch of random images.

    Args:
        recipe: teachers, student, loss, optimizer, precision; its data is not used.
        device: device on which it runs.
        bank: its teachers, if they are loaded already.
        blas: leave the products of linear layers to PyTorch's BLAS, see `nn/linear.py`.
    """

    def __init__(
        self,
        recipe: Recipe,
        device: torch.device,
        bank: TeacherBank | None = None,
        *,
        blas: bool = False,
    ) -> None:
        recipe = with_one_size(recipe)
        self.recipe, self.device, self.blas = recipe, device, blas
        bank = bank or build_bank(recipe, device, recipe.engine.precision)
        student, _ = build_student(recipe, bank.target_specs())
        self.objective = DistillationObjective(student, bank, recipe.distill, views=view_plan(recipe))
        student.to(device).train()
        self.objective.to_device(device)
        self.bank = bank
        if recipe.engine.activation_checkpointing:
            recompute_activations(student)
        if recipe.engine.compile:
            compile_units(student)
        compile_teachers(bank, everyone=recipe.engine.compile)
        self.timer = PhaseTimer(device)
        self.best = Best()
        self._step = self._train_step()
        self.whole = random_batch(recipe, list(bank.domains.values()), device)
        self.batches = list(split_batch(self.whole, recipe.engine.accumulate))
        self.count = 0

    def _train_step(self) -> TrainStep[Batch]:
        recipe, student, process = self.recipe, self.objective.trainable, Process(device=self.device)
        total = max(recipe.total_steps, 1000)
        optimizer = TrainOptimizer(
            student.named_parameters(),
            recipe.optim,
            total_steps=total,
            global_batch=recipe.loader.batch_size,
        )
        context = partial(StepContext, total_steps=total, seed=recipe.engine.seed, phase=self.timer.phase)
        return TrainStep(
            self.objective,
            student,
            optimizer,
            process=process,
            timer=self.timer,
            vote=StopVote(process),
            context=context,
            precision=recipe.engine.precision,
        )

    def run(self) -> dict[str, Tensor]:
        """Run one step; returns its metrics, on the device."""
        with left_to_blas() if self.blas else nullcontext():
            metrics = self._step(self.count, self.batches)
        self.count += 1
        return metrics

    def measure(self) -> None:
        """Run one step and add its times to `best`."""
        self.timer.restart()
        wall, cpu = measured(self.run, self.device)
        self.best.saw(wall, cpu, self.timer.collect()[1])


def with_one_size(recipe: Recipe) -> Recipe:
    """The recipe with fixed sizes (`image_size`, and each teacher's largest size), so that all steps cost the same."""
    teachers = tuple(
        replace(t, image_sizes=(), image_size=max(t.image_sizes)) if t.image_sizes else t
        for t in recipe.teachers
    )
    return replace(recipe, image_sizes=(), teachers=teachers)


def random_batch(recipe: Recipe, domains: Sequence[str], device: torch.device) -> Batch:
    """Seeded noise images with equal shares of the teachers' domains, in blocks, as in the balanced mixture."""
    count, size = recipe.loader.batch_size, crop_of_step(recipe, 0)
    images = torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))
    names = tuple(domains[index * len(domains) // count] for index in range(count))
    return Batch(images=images.to(device), domains=names, sources=names, names=names)


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """Measurements: seconds, operations, operations per second, GiB.

    Attributes:
        step: times of the shortest step.
        floor, floor_cpu: time of its operations at the rate of its products, by either clock.
        floor_fastest: the same, if each product uses the faster of PyTorch's kernel and, on a CPU, oneDNN's.
        replayed, replayed_cpu: the floor with all products timed one after the other.
        flops, product_flops: operations of one step, and those of its products.
        rate, square_rate: rate of the step's own products, and of a 2048³ product.
        share: processor time that this process's threads got, relative to what they requested; below 1, the machine was
            busy with other work. None on a GPU.
        peak_gib: peak memory.
        published: steps computed as in published code (`published_like.py`), in turns with codistill's; None if they
            were not measured.
        compared: the shortest step of the compared recipe, and its own floor (None where its products are not
            floating-point ones); None without one.
    """

    step: Best
    floor: float
    floor_cpu: float
    floor_fastest: float
    replayed: float
    replayed_cpu: float
    flops: int
    product_flops: int
    rate: float
    square_rate: float
    share: float | None
    peak_gib: float
    compared: tuple[Best, float | None] | None
    published: Best | None = None


def bench_step(
    recipe: Recipe,
    device: torch.device,
    *,
    rounds: int,
    compare: str | None,
    peak: Callable[[], float],
    published: bool = False,
) -> StepReport:
    """Measure a recipe's step, optionally compared with another sharing mode, int8 teachers, or no oneDNN.

    Args:
        recipe: the recipe.
        device: device on which it runs.
        rounds: number of measurements of everything.
        compare: a sharing mode, `int8`, `blas`, or None.
        peak: returns the largest memory used so far, in GiB.
        published: also measure the step as published code computes it.

    Raises:
        ConfigError: if a teacher of the recipe is in int8, because the floor is computed from floating-point products.
    """
    if any(teacher.precision == "int8" for teacher in recipe.teachers):
        raise ConfigError(
            "a step's floor is that of its floating-point products, and int8 teachers have none. Give the recipe "
            "without them, and --compare int8"
        )
    step = BenchedStep(recipe, device)
    for _ in range(WARM_UP):
        step.run()
    peak_gib = peak()
    products = ProductTimer(step.run, device)
    other, other_products = None, None
    if compare is not None:
        other = _compared(step, compare)
        for _ in range(WARM_UP):
            other.run()
        other_products = None if compare == "int8" else ProductTimer(other.run, device)
    plain = PublishedLikeStep(recipe, step.whole, device) if published else None
    if plain is not None:
        for _ in range(WARM_UP):
            plain.run()
    square = Operand((2048, 2048), (2048, 1), torch.float32, device)
    dtype = next(iter(products.products)).left.dtype
    square_product = Timed(Product(replace(square, dtype=dtype), replace(square, dtype=dtype)).call(), device)
    turns = [one.measure for one in (step, plain, products, other, other_products, square_product) if one]
    started = time.perf_counter(), time.process_time()
    take_turns(rounds, *turns)
    got = (time.process_time() - started[1]) / (time.perf_counter() - started[0])
    return StepReport(
        step=step.best,
        floor=products.floor(),
        floor_cpu=products.floor("cpu"),
        floor_fastest=products.fastest_floor(),
        replayed=products.replayed_floor(),
        replayed_cpu=products.replayed_floor("cpu"),
        flops=products.flops,
        product_flops=products.product_flops,
        rate=products.rate(),
        square_rate=2 * 2048**3 / square_product.best.wall,
        share=min(1.0, got / threads()) if device.type == "cpu" else None,
        peak_gib=peak_gib,
        compared=None if other is None else (other.best, other_products and other_products.floor()),
        published=None if plain is None else plain.best,
    )


def _compared(step: BenchedStep, compare: str) -> BenchedStep:
    """The step with another sharing mode, with teachers in int8, or with products computed by the BLAS."""
    recipe = step.recipe
    if compare == "blas":
        return BenchedStep(recipe, step.device, step.bank, blas=True)
    if compare == "int8":
        teachers = tuple(replace(teacher, precision="int8") for teacher in recipe.teachers)
        return BenchedStep(replace(recipe, teachers=teachers), step.device)
    sharing = replace(recipe.distill.sharing, mode=compare, shared_sources=None)  # type: ignore[arg-type]
    return BenchedStep(
        replace(recipe, distill=replace(recipe.distill, sharing=sharing)), step.device, step.bank
    )

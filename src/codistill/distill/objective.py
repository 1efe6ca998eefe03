"""Co-distillation as an objective: from a batch to one scalar loss.

    Batch → sharing plan → TeacherBank: raw targets → standardized targets
          → Student: predictions → loss per (teacher, image) → dropping → scalar

Source: DUNE, section 4. The scalar is the sum of coefficient * loss divided by the sum of coefficients. An image that
keeps more teachers after dropping therefore weighs more, as in the published training.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from codistill.distill.alignment import align
from codistill.distill.config import DistillConfig
from codistill.distill.description import describe_student
from codistill.distill.dropping import lowest_loss_dropping, uniform_draws
from codistill.distill.losses import DistillationLoss, TokenLoss, image_loss
from codistill.distill.mesa import mesa
from codistill.distill.neighbours import Neighbours
from codistill.distill.pooling import pool_predictions
from codistill.distill.sharing import SharingPlan, plan_sharing
from codistill.distill.step_metrics import step_metrics
from codistill.distill.targets import Scales, TargetStandardizer
from codistill.distill.validation import ValidationTable
from codistill.engine.objective import StepContext, StepResult
from codistill.engine.schedule import warmup_cosine
from codistill.errors import ConfigError
from codistill.nn.rows import Rows
from codistill.student.student import AVERAGE, OWN, Student
from codistill.teachers.pools import Pools
from codistill.teachers.views import StepViews, ViewPlan
from codistill.types import Batch, TokenKind, Tokens


class Bank(Protocol):
    """Source of raw targets: a `TeacherBank`, or recorded targets. Dictionaries keep the order of the teachers."""

    @property
    def domains(self) -> dict[str, str]: ...

    @property
    def weights(self) -> dict[str, float]:
        """Factor of each teacher's losses, in the order of the teachers."""
        ...

    def describe(self) -> list[dict[str, Any]]: ...

    def to(self, device: Any) -> Any: ...

    def __call__(
        self, images: Tensor, rows: Mapping[str, Rows], views: StepViews | None = None
    ) -> dict[str, Tokens]:
        """Compute each teacher's raw targets on its rows. With `views`, `images` are the crops to cut them from."""
        ...


@dataclass(frozen=True)
class Ahead:
    """Prepared inputs of one part of a step: its sharing plan and raw targets, and the statistics of the whole step."""

    plan: SharingPlan
    raw: Mapping[str, Tokens]
    scales: Scales


class DistillationObjective:
    """The objective of a training run; the module docstring shows its steps.

    Args:
        student: the trainable part.
        bank: the frozen part, which gives the targets.
        config: losses, sharing, dropping, target statistics.
        validation_sources: names of the held-out sources, in the order in which they are reported.
        recipe: name of the recipe, for the export.
        views: windows and image sizes of each step; batches then hold the crops from which these are cut. None: the
            batches hold the student's images.
    """

    def __init__(
        self,
        student: Student,
        bank: Bank,
        config: DistillConfig,
        *,
        validation_sources: Sequence[str] = (),
        recipe: str = "",
        views: ViewPlan | None = None,
    ) -> None:
        wanted, given = list(bank.domains), [target.name for target in student.targets]
        if wanted != given:
            raise ConfigError(f"the student has projectors for {given}, the bank has teachers {wanted}")
        if student.std_floor != config.targets.std_floor:
            raise ConfigError(
                f"the student undoes a std_floor of {student.std_floor:g}, its targets get {config.targets.std_floor:g}"
            )
        if views is None and (config.shift.most or config.alignment == "larger"):
            raise ConfigError(
                "distill.shift and distill.alignment larger need a ViewPlan: DistillationObjective(…, views=…)"
            )
        if config.mesa.weight and student.average is None:
            raise ConfigError(
                "distill.mesa.weight needs a moving average of the student: --student.ema 0.999"
            )
        self.trainable = student
        self.bank = bank
        self.views = views
        self.config = config
        self.recipe = recipe
        self.validation_sources = tuple(validation_sources)
        self.kinds: dict[str, tuple[TokenKind, ...]] = {t.name: t.kinds for t in student.targets}
        if config.loss.summary is not None and not any("cls" in kinds for kinds in self.kinds.values()):
            raise ConfigError(
                f"distill.loss.summary = {dict(config.loss.summary)} would have no effect: no teacher has a class "
                "token. Leave it out."
            )
        self.loss = DistillationLoss(config.loss)
        self.loss.require({kind for kinds in self.kinds.values() for kind in kinds})
        self.standardizer = TargetStandardizer(
            config.targets, student.target_statistics, directions=self.loss.directions
        )
        self._pooling = tuple(target.name for target in student.targets if target.pooled)
        if self._pooling and not isinstance(bank, Pools):
            raise ConfigError(f"teachers {', '.join(self._pooling)} pool predictions, which this bank cannot")
        self._momenta: list[float] = []
        weights = list(bank.weights.values())
        self._weights = None if set(weights) == {1.0} else torch.tensor(weights)[:, None]  # (teacher, 1)

    def to_device(self, device: Any) -> None:
        self.bank.to(device)
        self._weights = None if self._weights is None else self._weights.to(device)

    def momentum(self, step: int, total_steps: int) -> float:
        """Momentum of the target statistics' buffers at a 0-based step, where they follow the batches."""
        if len(self._momenta) != total_steps:
            targets = self.config.targets
            self._momenta = [
                float(m)
                for m in warmup_cosine(targets.momentum_start, targets.momentum_end, total_steps, 0.0)
            ]
        return self._momenta[min(step, total_steps - 1)]

    def step(self, model: nn.Module, batch: Batch, context: StepContext) -> StepResult:
        """Compute the loss of one batch. No host sync; one collective (two with `loss_normalizer = global`)."""
        ahead: Ahead = context.prepared or self.prepare([batch], context)[0]
        with context.phase("teachers"):
            targets = self.standardizer.standardize(ahead.raw, ahead.scales)
        with context.phase("student"):
            plan, views = ahead.plan, self._views(context.step)
            acts = self.config.mesa.acts(context.step, context.total_steps)
            images = batch.images if views is None else views.student_images(batch.images)
            shift = (0, 0) if views is None else views.shift("")
            seen = images if views is None or not acts else views.student_images(batch.images, shift)
            self.trainable.draw_noise(context.seed, context.step, context.micro_step, context.rank)
            predictions: dict[str, Tokens] = model(images, plan.rows, *((seen,) if acts else ()))
            predictions = self._pool(predictions, ahead.scales)
            self.trainable.share_statistics(context.all_reduce_sum, context.world_size)
            losses = self._losses(predictions, targets, self._neighbours(plan, len(batch), context), views)
            table = torch.stack([plan.spread(image_loss(losses[t]), t) for t in losses])  # (teacher, image)
            # Dropping compares unweighted losses; teacher weights enter after it, in `_normalize`.
            coefficients = self._coefficients(
                table, plan, context, context.slots_of(batch)
            )  # (teacher, image)
            loss, total = self._normalize(table, coefficients, context)
            metrics = step_metrics(loss, losses, coefficients, plan)
            if self.config.mesa.weight:
                value = mesa(predictions[OWN], predictions[AVERAGE], shift).mean() if acts else None
                metrics["loss/mesa"] = loss.new_full((), torch.nan) if value is None else value.detach()
                if value is not None:  # `total`: the whole step's sum is divided by it later
                    loss = loss + self.config.mesa.weight * (value if total is None else value * total)
                    metrics["loss"] = loss.detach()
        return StepResult(loss=loss, metrics=metrics, total=total)

    @torch.no_grad()
    def prepare(self, batches: Sequence[Batch], context: StepContext) -> list[Ahead]:
        """Compute the raw targets of all parts of a step, and the statistics over all parts and ranks. One collective.

        All raw targets stay in memory until they are used: 7 MB for an image of 336 pixels and three teachers of width
        1024. This is small beside the hundreds of MB of activations of the images of one part.
        """
        with context.phase("teachers"):
            plans = [self.plan(batch) for batch in batches]
            raws = [self.targets(b, plan, context.step) for b, plan in zip(batches, plans, strict=True)]
            scales = self.standardizer.kept(raws[0])
            if self.config.targets.statistics != "fixed":
                momentum = self.momentum(context.step, context.total_steps)
                parts = [self.standardizer.measure(r, p.counts) for r, p in zip(raws, plans, strict=True)]
                packed = parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)
                scales = self.standardizer.follow(context.all_reduce_sum(packed), raws[0], momentum)
        return [Ahead(plan, raw, scales) for plan, raw in zip(plans, raws, strict=True)]

    def targets(self, batch: Batch, plan: SharingPlan, step: int) -> dict[str, Tokens]:
        """Compute the raw targets of a batch, with the views of the given step."""
        views = self._views(step)
        return self.bank(batch.images, plan.rows, *(() if views is None else (views,)))

    def _views(self, step: int) -> StepViews | None:
        return None if self.views is None else self.views.of_step(step)

    def after_update(self, skipped: Tensor | None = None) -> None:
        """Update the moving average of the weights, if one is kept, unless the step was skipped."""
        self.trainable.update_average(skipped)

    def plan(self, batch: Batch) -> SharingPlan:
        """Which teacher teaches which image of a batch."""
        return plan_sharing(
            self.config.sharing, self.bank.domains, batch.domains, batch.sources, batch.images.device
        )

    def _losses(
        self,
        predictions: Mapping[str, Tokens],
        targets: Mapping[str, Tokens],
        neighbours: Mapping[str, Neighbours] | None = None,
        views: StepViews | None = None,
    ) -> dict[str, dict[TokenKind, TokenLoss]]:
        pairs = {t: (predictions[t], targets[t]) for t in self.kinds}
        if views is not None:
            pairs = {t: align(*pair, views.shift(t)) for t, pair in pairs.items()}
        return {
            t: self.loss.of_teacher(
                *pairs[t],
                kinds,
                self.standardizer.dispersion(t),
                None if neighbours is None else neighbours[t],
            )
            for t, kinds in self.kinds.items()
        }

    def _pool(self, predictions: dict[str, Tokens], scales: Scales) -> dict[str, Tokens]:
        """Replace the class tokens of pooled teachers by their own pool's summary of the predicted patches."""
        if not self._pooling:
            return predictions
        assert isinstance(self.bank, Pools)
        return pool_predictions(predictions, self._pooling, self.bank, self.standardizer, scales)

    def _neighbours(self, plan: SharingPlan, batch: int, context: StepContext) -> dict[str, Neighbours]:
        return {
            t: Neighbours(context=context, batch=batch, rows=plan.rows[t], allowed=plan.allowed[index])
            for index, t in enumerate(self.kinds)
        }

    def _coefficients(
        self, table: Tensor, plan: SharingPlan, context: StepContext, slots: Sequence[int]
    ) -> Tensor:
        dropping = self.config.dropping
        if dropping.mode == "none" or len(self.kinds) == 1:
            return plan.allowed
        draws = uniform_draws(seed=context.seed, step=context.step, slots=slots, teachers=table.shape[0])
        draws = draws.pin_memory() if table.is_cuda else draws  # pinned: the copy does not block
        draws = draws.to(table.device, non_blocking=True)
        return lowest_loss_dropping(table, plan.allowed, draws, dropping.probability)

    def _normalize(
        self, table: Tensor, coefficients: Tensor, context: StepContext
    ) -> tuple[Tensor, Tensor | None]:
        """Return the loss, and its divisor if the whole step's divisor is not known yet (several parts)."""
        losses = table if self._weights is None else self._weights * table
        weighted, total = (coefficients * losses).sum(), coefficients.sum()
        if self.config.loss_normalizer == "rank":
            return weighted / total, None
        if context.micro_steps > 1:
            return weighted / table.numel(), total / table.numel()  # divided by a constant
        return weighted / (context.all_reduce_sum(total.clone()) / context.world_size), None

    @torch.no_grad()
    def evaluate(self, model: nn.Module, batches: Iterable[Batch], context: StepContext) -> dict[str, float]:
        """Compute held-out losses and cosine similarities per teacher and source, by the running statistics."""
        device = next(self.trainable.parameters()).device
        table = ValidationTable(self.kinds, self.validation_sources, self.loss, device)
        training = model.training
        model.eval()
        try:
            for batch in batches:
                rows: dict[str, Rows] = dict.fromkeys(self.kinds)
                views = None if self.views is None else self.views.held_out(batch.images.shape[-1])
                raw = self.bank(batch.images, rows, *(() if views is None else (views,)))
                targets = self.standardizer.running(raw)
                predictions: dict[str, Tokens] = self._pool(
                    model(batch.images, rows), self.standardizer.kept(raw)
                )
                table.add(self._losses(predictions, targets, views=views), batch.sources)
        finally:
            model.train(training)
        return table.result(context.all_reduce_sum)

    def describe(self) -> dict[str, Any]:
        """Describe this student for the export, as plain data."""
        return dict(
            describe_student(
                self.trainable,
                self.bank.describe(),
                std_floor=self.config.targets.std_floor,
                recipe=self.recipe,
            )
        )

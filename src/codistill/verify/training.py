"""Numerical checks of training against recorded trajectories: losses, coefficients, gradients, final weights.

In: a student, fixed images and fixed raw teacher features, and the numbers that the published code computed from them.
The student is trained with codistill's objective and optimizer, and a teacher bank that returns the recorded features.
Out: one `CheckResult` per logged number and mode, for the worst step, and one per mode for the weights after training.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from codistill.data.catalogue import CATALOGUE
from codistill.distill.config import DistillConfig
from codistill.distill.dropping import DroppingConfig
from codistill.distill.objective import DistillationObjective
from codistill.distill.sharing import SharingConfig
from codistill.distill.targets import TargetConfig
from codistill.engine.objective import StepContext
from codistill.engine.optim import OptimConfig, TrainOptimizer
from codistill.nn.rows import Rows, select_rows
from codistill.student.load import student_of_weights
from codistill.student.student import Student
from codistill.teachers.views import StepViews
from codistill.types import Batch, Tokens
from codistill.verify.check import CheckResult, absent, compare_numbers, failed, judged
from codistill.verify.student_keys import own_key
from codistill.verify.suite import Part
from codistill.verify.training_rules import dropping_checks, schedule_checks
from codistill.weights.layouts import read_student_weights

NUMBER_TOLERANCE = 2e-5
WEIGHT_TOLERANCE = 1e-4
STUDENT_FILE = "dune_nano_released_layout.pth"
WEIGHTS_FILE = "distill_final_weights.safetensors"

_DOMAIN_WORDS = {
    "generic": ("dino", "clip", "siglip", "sam"),
    "3d": ("mast3r", "dust3r", "vggt"),
    "human": ("hmr",),
}


class RecordedBank:
    """A teacher bank that returns recorded raw features, step by step."""

    def __init__(self, record: Mapping[str, Any], inputs: Mapping[str, Tensor]) -> None:
        self.record, self.inputs, self.step = record, inputs, 0

    @property
    def domains(self) -> dict[str, str]:
        """Each teacher's domain, from its name; unknown names get domains in the published order."""
        order = ("generic", "3d", "human")
        found: dict[str, str] = {}
        for place, name in enumerate(self.record["teachers"]):
            words = (d for d, w in _DOMAIN_WORDS.items() if any(word in name.lower() for word in w))
            found[name] = next(words, order[place % 3])
        return found

    @property
    def weights(self) -> dict[str, float]:
        return dict.fromkeys(self.record["teachers"], 1.0)

    def describe(self) -> list[dict[str, Any]]:
        return [{"name": name, "licence": "unknown"} for name in self.record["teachers"]]

    def to(self, device: Any) -> "RecordedBank":
        """Do nothing: recorded features stay on the host."""
        return self

    def __call__(
        self, images: Tensor, rows: Mapping[str, Rows], views: StepViews | None = None
    ) -> dict[str, Tokens]:
        """The features of the current step, for each teacher's rows."""
        raw: dict[str, Tokens] = {}
        for name in self.record["teachers"]:
            patches = select_rows(self.inputs[f"{name}_patch_{self.step}"], rows[name])
            cls = self.inputs.get(f"{name}_cls_{self.step}")
            side = int(patches.shape[1] ** 0.5)
            grid = (side, side) if side * side == patches.shape[1] else (1, patches.shape[1])
            raw[name] = Tokens(
                patches=patches, grid=grid, cls=None if cls is None else select_rows(cls, rows[name])
            )
        return raw


def training_checks(student_file: Path, inputs_file: Path, record_file: Path) -> Iterator[CheckResult]:
    """Check every recorded mode of training step by step, and the final weights, if recorded."""
    record, inputs = json.loads(record_file.read_text()), load_file(inputs_file)
    weights_file = record_file.with_name(WEIGHTS_FILE)
    final = load_file(weights_file) if weights_file.exists() else {}
    for mode in record["modes"]:
        yield from trajectory_checks(student_file, record, inputs, mode, final)
    if not final:
        yield absent("weights after training", WEIGHTS_FILE)


def trajectory_checks(
    student_file: Path,
    record: Mapping[str, Any],
    inputs: Mapping[str, Tensor],
    mode: str,
    final: Mapping[str, Tensor],
) -> Iterator[CheckResult]:
    """Train as recorded; yields the largest difference of each quantity over all steps, then that of the weights."""
    student = student_of_weights(read_student_weights(student_file)).train()
    bank = RecordedBank(record, inputs)
    settings = record["modes"][mode]
    objective = DistillationObjective(student, bank, _config(record, settings))
    optimizer = TrainOptimizer(
        student.named_parameters(),
        _optim(record, settings),
        total_steps=record["steps"],
        global_batch=record["nominal_global_batch_for_lr"],
    )
    worst: dict[str, CheckResult] = {}
    for step, wanted in enumerate(record["trajectories"][mode]):
        bank.step = step
        got = _train_step(objective, optimizer, _batch(record, inputs, step), step, record["steps"])
        _keep_worst(worst, f"trajectory {mode}", got, wanted)
    if (wanted := record["trajectories"].get(f"{mode}_eval_after")) is not None:
        bank.step = 0
        got = _evaluate(objective, _batch(record, inputs, 0), record["steps"])
        _keep_worst(worst, f"trajectory {mode} evaluated after", got, wanted)
    yield from worst.values()
    yield from weight_checks(student, mode, final)


def _config(record: Mapping[str, Any], settings: Mapping[str, Any]) -> DistillConfig:
    norm = record["tnorm"]
    return DistillConfig(
        sharing=SharingConfig(mode=settings["sharing"], skip_untaught=False),
        dropping=DroppingConfig(mode="none"),
        targets=TargetConfig(
            momentum_start=norm["momentum_start"], momentum_end=norm["momentum_end"], std_floor=norm["eps"]
        ),
    )


def _optim(record: Mapping[str, Any], settings: Mapping[str, Any]) -> OptimConfig:
    o, clip = record["optim"], settings.get("clip_grad_per_tensor")
    return OptimConfig(
        lr=o["lr"],
        reference_batch=o["reference_batch"],
        min_lr=o["min_lr"],
        warmup_fraction=o["warmup_fraction"],
        betas=(o["betas"][0], o["betas"][1]),
        eps=o["eps"],
        weight_decay=o["wd"],
        clip="per_tensor" if clip else "none",
        clip_norm=clip or 1.0,
    )


def _batch(record: Mapping[str, Any], inputs: Mapping[str, Tensor], step: int) -> Batch:
    sources = tuple(record["dataset_names"])
    domains = tuple(CATALOGUE[name].domain if name in CATALOGUE else "generic" for name in sources)
    return Batch(images=inputs[f"image_{step}"], domains=domains, sources=sources, names=sources)


def _train_step(
    objective: DistillationObjective, optimizer: TrainOptimizer, batch: Batch, step: int, total: int
) -> dict[str, float]:
    optimizer.zero_grad()
    result = objective.step(objective.trainable, batch, StepContext(step=step, total_steps=total))
    result.loss.backward()
    gradients = optimizer.measure()
    metrics = {**result.metrics, **optimizer.metrics(gradients)}
    optimizer.update(step, gradients)
    return {_recorded_name(name): value.item() for name, value in metrics.items()}


@torch.no_grad()
def _evaluate(objective: DistillationObjective, batch: Batch, total: int) -> dict[str, float]:
    """Metrics of a step in evaluation mode: target statistics from the buffers, every coefficient 1."""
    kept = replace(objective.config.targets, statistics="fixed")
    full = DistillConfig(dropping=DroppingConfig(mode="none"), targets=kept)
    evaluation = DistillationObjective(objective.trainable, objective.bank, full)
    objective.trainable.eval()
    result = evaluation.step(objective.trainable, batch, StepContext(step=total - 1, total_steps=total))
    return {_recorded_name(name): value.item() for name, value in result.metrics.items()}


def _recorded_name(name: str) -> str:
    """Translate codistill's name of a logged number to the recorded name."""
    fixed = {
        "gradient/mean": "grad_norm_mean",
        "gradient/max": "grad_norm_max",
        "gradient/clipped": "tensors_clipped",
    }
    if name in fixed or "/" not in name:
        return fixed.get(name, name)
    first, teacher, *rest = name.split("/")
    if first == "coefficient":
        return f"t_coeff_{teacher}"
    short = {"cosine": "cos", "smooth_l1": "sl1"}
    return "loss/dist_" + "_".join([*(short.get(part, part) for part in rest), teacher])


def _keep_worst(
    worst: dict[str, CheckResult], title: str, got: Mapping[str, float], wanted: Mapping[str, float]
) -> None:
    for name, expected in wanted.items():
        key = f"{title}: {name}"
        if name in got:
            result = compare_numbers(key, got[name], expected, NUMBER_TOLERANCE)
        else:
            result = failed(key, NUMBER_TOLERANCE, "not computed")
        if key not in worst or not result.difference <= worst[key].difference:
            worst[key] = result


def weight_checks(student: Student, mode: str, final: Mapping[str, Tensor]) -> Iterator[CheckResult]:
    """Check the largest relative L2 distance of a recorded tensor, without key biases, whose gradient is 0."""
    ours, worst = student.state_dict(), CheckResult(name="", difference=-1.0, tolerance=WEIGHT_TOLERANCE)
    recorded = {k.removeprefix(f"{mode}/"): v for k, v in final.items() if k.startswith(f"{mode}/")}
    if not recorded:
        return
    for released, expected in recorded.items():
        key = own_key(released)
        if key not in ours:
            yield failed(f"weights {mode}: {released}", WEIGHT_TOLERANCE, "the student has no such tensor")
            continue
        got, expected = ours[key].double(), expected.double()
        if key.endswith("attn.qkv.bias"):
            third = got.shape[0] // 3
            keep = torch.ones_like(got, dtype=torch.bool)
            keep[third : 2 * third] = False
            got, expected = got[keep], expected[keep]
        difference = ((got - expected).norm() / expected.norm().clamp(min=1e-30)).item()
        if not difference <= worst.difference:
            worst = CheckResult(name="", difference=difference, tolerance=WEIGHT_TOLERANCE, detail=released)
    detail = f"{len(recorded)} tensors, worst: {worst.detail}"
    yield judged(f"weights after {mode}", worst.difference, WEIGHT_TOLERANCE, detail)


PARTS = (
    Part("schedules", ("schedules.json",), schedule_checks),
    Part("dropping", ("dropping.json",), dropping_checks),
    Part(
        "training trajectories",
        (STUDENT_FILE, "distill_inputs.safetensors", "distill_trajectory.json"),
        training_checks,
    ),
)

"""The objective: sharing that skips work, the published numbers, normalizers, gradients, host syncs."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from codistill.distill.config import DistillConfig
from codistill.distill.dropping import DroppingConfig
from codistill.distill.objective import DistillationObjective
from codistill.distill.sharing import SharingConfig
from codistill.distill.targets import TargetConfig
from codistill.encoders.seeded import seeded_encoder
from codistill.encoders.vit import ViTEncoder
from codistill.engine.objective import StepContext
from codistill.errors import ConfigError
from codistill.files.json_files import write_json
from codistill.nn.vit import ViTConfig
from codistill.student.load import load_student
from codistill.student.statistics import KindStatistics
from codistill.student.student import Student
from codistill.teachers.bank import TeacherBank
from codistill.teachers.teacher import Teacher, TeacherConfig
from codistill.types import Batch
from codistill.weights.export import write_export
from codistill.weights.run import read_run

DOMAINS = ("generic", "generic", "3d", "3d", "human", "human")
CONTEXT = StepContext(step=3, total_steps=10, seed=1)


def make(config: DistillConfig | None = None) -> DistillationObjective:
    torch.manual_seed(0)
    texts = {
        "generic": "random:vit_tiny,dim=32,num_heads=2,depth=1,seed=1",
        "3d": "random:vit_tiny,dim=16,num_heads=2,depth=1,patch_size=16,seed=2",
        "human": "random:vit_tiny,dim=24,num_heads=2,depth=1,seed=3",
    }
    teachers = [
        Teacher(
            TeacherConfig(name=f"t-{d}", domain=d, kinds=None if d == "generic" else ("patch",)),
            seeded_encoder(t),
        )
        for d, t in texts.items()
    ]
    bank = TeacherBank(teachers, 14)
    encoder = ViTEncoder(ViTConfig(dim=32, depth=2, num_heads=2, image_size=28, num_registers=2))
    student = Student(encoder, bank.target_specs())
    return DistillationObjective(student, bank, config or DistillConfig(), validation_sources=("a", "b"))


def batch(domains: tuple[str, ...] = DOMAINS) -> Batch:
    generator = torch.Generator().manual_seed(5)
    images = torch.randn(len(domains), 3, 28, 28, generator=generator)
    return Batch(images=images, domains=domains, sources=("a",) * len(domains), names=("x",) * len(domains))


def test_loss_is_the_coefficient_weighted_mean_of_logged_losses() -> None:
    objective = make(DistillConfig(dropping=DroppingConfig(mode="none")))
    result = objective.step(objective.trainable, batch(), CONTEXT)
    per_teacher = [result.metrics[f"loss/t-{d}"] for d in ("generic", "3d", "human")]
    torch.testing.assert_close(result.loss.detach(), sum(per_teacher) / 3)
    generic = result.metrics
    torch.testing.assert_close(
        generic["loss/t-generic"], (generic["loss/t-generic/cls"] + generic["loss/t-generic/patch"]) / 2
    )
    torch.testing.assert_close(
        generic["loss/t-3d/patch"],
        (generic["loss/t-3d/patch/cosine"] + generic["loss/t-3d/patch/smooth_l1"]) / 2,
    )


def test_teacher_weights_multiply_the_losses_and_leave_dropping_alone() -> None:
    def run(weights: tuple[float, ...]) -> Any:
        objective = make(DistillConfig(dropping=DroppingConfig(mode="none")))
        for teacher, weight in zip(objective.bank.teachers.values(), weights, strict=True):
            teacher.config = replace(teacher.config, weight=weight)
        weighted = DistillationObjective(objective.trainable, objective.bank, objective.config)
        return weighted.step(weighted.trainable, batch(), CONTEXT)

    plain, weighted = run((1.0, 1.0, 1.0)), run((2.0, 0.0, 0.5))
    losses = [plain.metrics[f"loss/t-{d}"] for d in ("generic", "3d", "human")]
    torch.testing.assert_close(weighted.loss.detach(), (2 * losses[0] + 0.5 * losses[2]) / 3)
    for name in ("loss/t-3d", "coefficient/t-3d"):
        torch.testing.assert_close(weighted.metrics[name], plain.metrics[name])
    assert run((1.0, 1.0, 1.0)).loss.item() == plain.loss.item()


def test_average_moves_after_an_update_and_not_with_its_batches() -> None:
    objective = make()
    objective.trainable.keep_average(0.5)
    before = objective.trainable.average["encoder"].cls_token.clone()  # type: ignore[index]
    with torch.no_grad():
        objective.trainable.encoder.cls_token.add_(1.0)
    for micro in range(2):
        context = StepContext(step=3, total_steps=10, micro_step=micro)
        objective.step(objective.trainable, batch(), context)
    average = objective.trainable.average["encoder"].cls_token  # type: ignore[index]
    torch.testing.assert_close(average, before)
    objective.after_update()
    torch.testing.assert_close(average, before + 0.5)


def test_skipping_untaught_images_changes_only_the_statistics() -> None:
    results = {}
    for skip in (True, False):
        sharing = SharingConfig(mode="none", skip_untaught=skip)
        dropping, targets = DroppingConfig(mode="none"), TargetConfig(statistics="fixed")
        objective = make(DistillConfig(sharing=sharing, dropping=dropping, targets=targets))
        for teacher in objective.trainable.target_statistics.values():  # same statistics on both sides
            for kind in teacher.values():  # type: ignore[operator]
                kind.mean.fill_(0.1)  # type: ignore[union-attr]
        results[skip] = objective.step(objective.trainable, batch(), CONTEXT)
    torch.testing.assert_close(results[True].loss, results[False].loss)


def test_without_momentum_a_batch_is_standardized_by_its_own_statistics() -> None:
    objective = make(DistillConfig(targets=TargetConfig(momentum_start=0.0)))
    context = StepContext(step=0, total_steps=10)
    still = objective.step(objective.trainable, batch(), context)
    moving = make()
    torch.testing.assert_close(still.loss, moving.step(moving.trainable, batch(), context).loss)
    assert not objective.trainable.target_statistics["t-3d"]["patch"].mean.any()  # type: ignore[index,operator,union-attr]


def test_batch_without_a_domain_still_gives_every_parameter_a_gradient() -> None:
    objective = make(DistillConfig(sharing=SharingConfig(mode="none")))
    result = objective.step(objective.trainable, batch(("generic", "generic")), CONTEXT)
    result.loss.backward()
    assert torch.isfinite(result.loss)
    assert torch.isnan(result.metrics["loss/t-human"])
    trainable = [p for p in objective.trainable.parameters() if p.requires_grad]
    assert all(p.grad is not None for p in trainable)


def test_every_parameter_that_trains_gets_a_gradient_and_buffers_move() -> None:
    objective = make()
    objective.step(objective.trainable, batch(), CONTEXT).loss.backward()
    without = [n for n, p in objective.trainable.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []
    assert objective.trainable.target_statistics["t-3d"]["patch"].mean.abs().sum() > 0  # type: ignore[index,operator,union-attr]


def test_global_normalizer_of_two_ranks_is_one_rank() -> None:
    targets = TargetConfig(statistics="fixed")
    config = DistillConfig(loss_normalizer="global", sharing=SharingConfig(mode="generic"), targets=targets)
    whole = batch()

    def rank_part(rank: int) -> Batch:
        chosen = slice(rank, None, 2)
        return Batch(whole.images[chosen], whole.domains[chosen], whole.sources[chosen], whole.names[chosen])

    one = make(config)
    expected = one.step(one.trainable, whole, CONTEXT).loss
    # The sums that two ranks would exchange, recorded in a first pass and played back in a second one.
    totals: list[Tensor] = []

    def run(rank: int, all_reduce: Any) -> Tensor:
        objective = make(config)
        context = StepContext(
            step=3, total_steps=10, seed=1, rank=rank, world_size=2, all_reduce_sum=all_reduce
        )
        return objective.step(objective.trainable, rank_part(rank), context).loss

    for rank in (0, 1):
        run(rank, lambda x: totals.append(x.clone()) or x)
    losses = [run(rank, lambda x: torch.stack(totals).sum(0)) for rank in (0, 1)]
    torch.testing.assert_close(sum(losses) / 2, expected)


class HostReads(TorchDispatchMode):
    """Counts operations that would make the host wait for a device."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if any(word in str(func) for word in ("_local_scalar_dense", "nonzero", "is_nonzero", "unique")):
            self.found.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("mode", ["full", "generic", "none"])
def test_no_host_read_in_a_step(mode: str) -> None:
    objective = make(DistillConfig(sharing=SharingConfig(mode=mode)))  # type: ignore[arg-type]
    with HostReads() as reads:
        objective.step(objective.trainable, batch(), CONTEXT).loss.backward()
    assert reads.found == []


def test_evaluation_reports_per_source_and_leaves_everything_as_it_was() -> None:
    objective = make()
    before = {k: v.clone() for k, v in objective.trainable.state_dict().items()}
    objective.trainable.train()
    given = batch()
    mixed = Batch(given.images, given.domains, ("a", "a", "a", "a", "b", "b"), given.names)
    numbers = objective.evaluate(objective.trainable, [mixed, mixed], CONTEXT)
    assert numbers["a/images"] == 8
    assert numbers["all/images"] == 12
    a, b = numbers["a/t-3d/loss"], numbers["b/t-3d/loss"]
    assert numbers["all/t-3d/loss"] == pytest.approx((8 * a + 4 * b) / 12)
    assert objective.trainable.training
    assert all(torch.equal(v, before[k]) for k, v in objective.trainable.state_dict().items())
    assert objective.evaluate(objective.trainable, [], CONTEXT) == {}


def test_student_and_bank_must_agree() -> None:
    objective = make()
    with pytest.raises(ConfigError, match="projectors for"):
        DistillationObjective(
            Student(objective.trainable.encoder, objective.trainable.targets[:2]),
            objective.bank,
            DistillConfig(),
        )
    with pytest.raises(ConfigError, match=r"undoes a std_floor of 0.001, its targets get 0.5"):
        DistillationObjective(
            objective.trainable, objective.bank, DistillConfig(targets=TargetConfig(std_floor=0.5))
        )


def test_a_student_undoes_the_floor_that_its_targets_were_divided_by(tmp_path: Path) -> None:
    plain = make()
    student = Student(plain.trainable.encoder, plain.trainable.targets, std_floor=0.5)
    for buffers in student.target_statistics.modules():
        if isinstance(buffers, KindStatistics):
            buffers.std.fill_(0.02)
            buffers.mean.fill_(3.0)
    config = DistillConfig(targets=TargetConfig(std_floor=0.5))
    objective = DistillationObjective(student, plain.bank, config)
    raw = plain.bank(batch().images, dict.fromkeys(plain.bank.names, slice(0, 2)))
    scaled = objective.standardizer.running(raw)
    assert torch.allclose(scaled["t-3d"].patches, (raw["t-3d"].patches - 3.0) / 0.5)

    folder = tmp_path / "checkpoints" / "step_00000001"
    folder.mkdir(parents=True)
    save_file(student.state_dict(), folder / "model.safetensors")
    (folder / "state.json").write_text("{}")
    write_json(tmp_path / "describe.json", objective.describe())
    write_export(tmp_path / "export", read_run(tmp_path))
    for again in (student, load_student(str(tmp_path)), load_student(str(tmp_path / "export"))):
        for name, tokens in raw.items():
            back = again.denormalize(scaled[name], name)
            assert torch.allclose(back.patches, tokens.patches, atol=1e-5)

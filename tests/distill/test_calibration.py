"""Fixed target statistics and PHI-S, against numpy on all tokens at once; what undoes them."""

import numpy as np
import pytest
import torch
from torch import Tensor

from codistill.distill.calibration import calibrate, phi_s, suits
from codistill.distill.config import DistillConfig
from codistill.distill.losses import LossConfig
from codistill.distill.objective import DistillationObjective
from codistill.distill.sharing import SharingConfig
from codistill.distill.targets import TargetConfig
from codistill.encoders.registry import FunctionEncoder
from codistill.encoders.vit import ViTEncoder
from codistill.engine.objective import StepContext
from codistill.errors import ConfigError, DataError
from codistill.nn.moments import Moments
from codistill.nn.vit import ViTConfig
from codistill.recipes.fresh_student import copy_matching
from codistill.student.statistics import KindStatistics
from codistill.student.student import Student
from codistill.teachers.bank import TeacherBank
from codistill.teachers.teacher import Teacher, TeacherConfig
from codistill.types import Batch, EncoderSpec, Tokens


def correlated(tokens: int = 4000, channels: int = 12, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(channels, channels)) * np.logspace(0, -1.5, channels)
    return rng.normal(size=(tokens, channels)) @ mixing.T + rng.normal(size=channels) * 5


def pixel_encoder(dim: int, patch: int) -> FunctionEncoder:
    """Tokens that are correlated mixtures of pixels: a random network's hardly vary."""
    generator = torch.Generator().manual_seed(dim)
    mixing = torch.randn(3 * patch * patch, dim, generator=generator) * torch.logspace(0, -1, dim)

    def function(images: Tensor) -> Tokens:
        pixels = torch.nn.functional.pixel_unshuffle(images, patch)
        patches = pixels.flatten(2).transpose(1, 2) @ mixing / patch + 2
        grid = (pixels.shape[2], pixels.shape[3])
        return Tokens(patches, grid, cls=patches.mean(1))

    return FunctionEncoder(EncoderSpec(name="pixels", dim=dim, patch_size=patch), function)


def make(
    targets: TargetConfig, loss: LossConfig | None = None, mode: str = "full", width: int = 24
) -> DistillationObjective:
    torch.manual_seed(0)
    teachers = [
        Teacher(TeacherConfig(name="a"), pixel_encoder(width, 14)),
        Teacher(TeacherConfig(name="b", domain="3d", kinds=("patch",)), pixel_encoder(16, 16)),
    ]
    bank = TeacherBank(teachers, 14)
    encoder = ViTEncoder(ViTConfig(dim=32, depth=1, num_heads=2, image_size=28))
    student = Student(encoder, bank.target_specs(), rotated_targets=targets.transform == "phi_s")
    config = DistillConfig(
        targets=targets,
        loss=loss or LossConfig(),
        sharing=SharingConfig(mode=mode),  # type: ignore[arg-type]
    )
    return DistillationObjective(student, bank, config)


def batches(count: int = 6, domains: tuple[str, ...] = ("generic", "3d", "generic", "3d")) -> list[Batch]:
    generator = torch.Generator().manual_seed(3)
    return [
        Batch(torch.randn(4, 3, 28, 28, generator=generator), domains, domains, domains) for _ in range(count)
    ]


def tokens_of(
    objective: DistillationObjective, teacher: str, kind: str, only: str | None = None
) -> np.ndarray:
    rows = []
    for batch in batches():
        tokens = objective.bank(batch.images, dict.fromkeys(("a", "b")))[teacher].of_kind(kind)  # type: ignore[arg-type]
        assert tokens is not None
        keep = [i for i, domain in enumerate(batch.domains) if only in (None, domain)]
        rows.append(tokens[keep].reshape(-1, tokens.shape[-1]).numpy())
    return np.concatenate(rows).astype(np.float64)


def buffers(objective: DistillationObjective, teacher: str, kind: str) -> KindStatistics:
    return objective.trainable.target_statistics[teacher][kind]  # type: ignore[index,return-value]


def nothing(tensor: Tensor) -> Tensor:
    return tensor


def test_phi_s_gives_every_channel_the_mean_eigenvalue_and_is_a_rotation() -> None:
    x = correlated()
    covariance = np.cov(x.T)
    rotation, deviation = phi_s(torch.tensor(covariance))
    eigenvalues = np.linalg.eigvalsh(covariance)
    assert eigenvalues.max() / eigenvalues.min() > 100
    assert float(deviation) == pytest.approx(np.sqrt(eigenvalues.mean()))
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(12), atol=1e-12)
    out = (x - x.mean(0)) @ rotation.numpy().T / float(deviation)
    np.testing.assert_allclose(np.cov(out.T).diagonal(), 1.0, rtol=1e-9)
    # One scale for all: distances keep their proportions, which standardizing channel by channel would destroy.
    np.testing.assert_allclose(
        np.linalg.norm(out[1:] - out[:-1], axis=1),
        np.linalg.norm(x[1:] - x[:-1], axis=1) / float(deviation),
        rtol=1e-9,
    )


@pytest.mark.parametrize("transform", ["channels", "phi_s"])
def test_calibrated_targets_have_unit_variance_and_come_back(transform: str) -> None:
    objective = make(TargetConfig(statistics="fixed", transform=transform))  # type: ignore[arg-type]
    assert calibrate(objective, batches(), ("a", "b"), nothing) == 24
    for teacher, kind in (("a", "patch"), ("a", "cls"), ("b", "patch")):
        raw = torch.tensor(tokens_of(objective, teacher, kind), dtype=torch.float32)
        statistics = buffers(objective, teacher, kind)
        out = statistics.standardize(raw)
        torch.testing.assert_close(out.mean(0), torch.zeros(raw.shape[1]), atol=1e-4, rtol=0)
        torch.testing.assert_close(out.std(0), torch.ones(raw.shape[1]), atol=2e-3, rtol=0)
        torch.testing.assert_close(statistics.denormalize(out), raw, atol=1e-4, rtol=1e-4)


def test_fixed_statistics_stay_and_are_what_the_student_undoes() -> None:
    objective = make(TargetConfig(statistics="fixed", transform="phi_s"))
    calibrate(objective, batches(), ("a", "b"), nothing)
    before = {k: v.clone() for k, v in objective.trainable.target_statistics.state_dict().items()}
    batch = batches(1)[0]
    objective.step(objective.trainable, batch, StepContext(step=0, total_steps=4))
    after = objective.trainable.target_statistics.state_dict()
    assert all(torch.equal(after[k], before[k]) for k in before)
    raw = objective.bank(batch.images, dict.fromkeys(("a", "b")))
    targets = objective.standardizer.running(raw)
    back = objective.trainable.denormalize(targets["a"], "a")
    torch.testing.assert_close(back.patches, raw["a"].patches.clone(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(back.cls, raw["a"].cls.clone(), atol=1e-4, rtol=1e-4)  # type: ignore[union-attr]


def test_sharing_decides_what_is_seen_and_ranks_add_up() -> None:
    objective = make(TargetConfig(statistics="fixed"), mode="none")
    calibrate(objective, batches(), ("a", "b"), nothing)
    own = tokens_of(objective, "b", "patch", only="3d")
    np.testing.assert_allclose(buffers(objective, "b", "patch").mean, own.mean(0), atol=1e-5)
    np.testing.assert_allclose(buffers(objective, "b", "patch").std, own.std(0, ddof=1), rtol=1e-4)

    sums: list[Tensor] = []

    def two_ranks(tensor: Tensor) -> Tensor:  # the other rank saw the same: counts double, statistics stay
        sums.append(tensor.clone())
        return tensor.mul_(2)

    twice = make(TargetConfig(statistics="fixed"), mode="none")
    calibrate(twice, batches(), ("b",), two_ranks)
    assert len(sums) == 1
    torch.testing.assert_close(buffers(twice, "b", "patch").mean, buffers(objective, "b", "patch").mean)
    torch.testing.assert_close(buffers(twice, "a", "patch").mean, torch.zeros(24))  # not asked for


def test_angular_class_tokens_keep_their_direction() -> None:
    objective = make(
        TargetConfig(statistics="fixed", transform="phi_s"), LossConfig(summary={"angular": 1.0})
    )
    calibrate(objective, batches(), ("a", "b"), nothing)
    raw = tokens_of(objective, "a", "cls")
    units = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    spread = np.sqrt(((units - units.mean(0)) ** 2).sum(1).mean() + (1 - np.linalg.norm(units.mean(0))) ** 2)
    # mean |u - m|² with m the unit mean direction: |u - ū|² summed, plus the distance from ū to m.
    statistics = buffers(objective, "a", "cls")
    torch.testing.assert_close(
        statistics.std, torch.full((24,), spread, dtype=torch.float32), rtol=1e-4, atol=0
    )
    assert (statistics.mean == 0).all()
    out = statistics.standardize(torch.tensor(raw, dtype=torch.float32))
    np.testing.assert_allclose(out / np.linalg.norm(out, axis=1, keepdims=True), units, atol=1e-5)


def test_an_earlier_runs_statistics_suit_targets_of_the_same_kind_only() -> None:
    fixed = TargetConfig(statistics="fixed")
    rotated = TargetConfig(statistics="fixed", transform="phi_s")
    angular = LossConfig(summary={"angular": 1.0})
    ways = [(fixed, None), (rotated, None), (fixed, angular), (rotated, angular)]
    for before in ways:
        earlier = make(*before)
        assert not suits(earlier, "a") and not suits(earlier, "b")  # never set
        calibrate(earlier, batches(), ("a", "b"), nothing)
        for way in ways:
            later = make(*way)
            copy_matching(earlier.trainable, later.trainable)  # type: ignore[arg-type]
            same_transform = way[0] == before[0]
            assert suits(later, "b") == same_transform  # patches alone
            assert suits(later, "a") == (same_transform and way[1] == before[1])


def test_refusals() -> None:
    objective = make(TargetConfig(statistics="fixed"), mode="none")
    with pytest.raises(DataError, match=r"'b' saw no image.*estimate_steps"):
        calibrate(objective, batches(2, ("generic",) * 4), ("a", "b"), nothing)
    with pytest.raises(ConfigError, match="phi_s needs statistics = fixed"):
        TargetConfig(transform="phi_s")
    with pytest.raises(ConfigError, match="no Hadamard matrix of order 30"):
        phi_s(torch.eye(30))
    odd = make(TargetConfig(statistics="fixed", transform="phi_s"), width=30)
    seen = iter(batches())
    with pytest.raises(ConfigError, match="no Hadamard matrix of order 30"):
        calibrate(odd, seen, ("a", "b"), nothing)
    assert len(list(seen)) == 5  # refused at the first batch


@pytest.mark.parametrize("enabled", [False, True])
def test_statistics_are_fp32_whatever_the_precision_of_the_run(enabled: bool) -> None:
    data = correlated(3000, 32)
    second = Moments(32)
    with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
        for part in torch.tensor(data, dtype=torch.float32).split(500):
            second.add(part)
    covariance = second.covariance(correction=1)
    wanted = np.cov(data.T)
    assert np.linalg.norm(covariance.numpy() - wanted) / np.linalg.norm(wanted) < 1e-6
    rotation, deviation = phi_s(covariance)
    rotated = (data - data.mean(0)) @ rotation.numpy().T / float(deviation)
    np.testing.assert_allclose(rotated.var(0, ddof=1), 1.0, atol=1e-4)

"""Class tokens: one per teacher, of other widths than patches; in every projector, on disk and folded."""

from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from codistill.encoders.vit import ViTEncoder
from codistill.errors import ConfigError
from codistill.nn.vit import ViTConfig
from codistill.student.folding import TeacherView
from codistill.student.load import load_student
from codistill.student.projectors import PROJECTORS, ProjectorConfig
from codistill.student.student import Student
from codistill.types import TargetSpec
from codistill.weights.contents import StudentWeights
from codistill.weights.export import write_export

TARGETS = (
    TargetSpec(name="plain", dim=10),
    TargetSpec(name="wide", dim=10, cls_dim=12, token=1),
    TargetSpec(name="pooled", dim=6, cls_dim=8, pooled=True),
    TargetSpec(name="alone", dim=7, kinds=("cls",), token=2),
)


def student(kind: str = "transformer") -> Student:
    torch.manual_seed(0)
    encoder = ViTEncoder(
        ViTConfig(dim=16, depth=2, num_heads=2, patch_size=7, image_size=14, num_registers=3)
    )
    heads = {"num_heads": 2} if kind == "radio_attention" else {}
    model = Student(encoder, TARGETS, ProjectorConfig(kind=kind, **heads))  # type: ignore[arg-type]
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
        for buffer in model.target_statistics.buffers():
            buffer.uniform_(0.5, 2.0)
    return model.eval()


@pytest.mark.parametrize("kind", [kind for kind in PROJECTORS if kind != "siglino"])
def test_every_projector_gives_both_widths(kind: str) -> None:
    predicted = student(kind)(torch.randn(2, 3, 14, 14))
    assert predicted["plain"].cls.shape == (2, 10)
    assert (predicted["wide"].cls.shape, predicted["wide"].patches.shape) == ((2, 12), (2, 4, 10))
    assert predicted["pooled"].patches.shape == (2, 4, 6)
    assert predicted["alone"].cls.shape == (2, 7)


def test_one_head_for_two_widths_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"class tokens \(12 channels\) and patches \(10\).*kind ln_mlp"):
        student("siglino")


def test_each_teacher_reads_its_own_token() -> None:
    """Changing one token changes that teacher's class tokens alone (heads that look at one token at a time)."""
    model = student("ln_mlp")
    images = torch.randn(2, 3, 14, 14)
    tokens = model.encoder(images, norm=False)
    before = {t.name: model.project(tokens, t.name).cls for t in TARGETS}
    registers = tokens.registers.clone()
    registers[:, 0] += 1.0 + torch.arange(16)  # that of "wide"
    changed = type(tokens)(tokens.patches, tokens.grid, tokens.cls, registers, normed=False)
    after = {t.name: model.project(changed, t.name).cls for t in TARGETS}
    assert [not torch.equal(before[n], after[n]) for n in ("plain", "wide", "alone")] == [False, True, False]
    assert before["pooled"] is None  # its pool belongs to the teacher
    torch.testing.assert_close(model(images)["alone"].cls, before["alone"])


def test_gradients_of_a_teacher_leave_the_other_tokens_alone() -> None:
    model = student("mlp")
    tokens = model.encoder(torch.randn(1, 3, 14, 14), norm=False)
    registers = tokens.registers.detach().requires_grad_(True)
    held = type(tokens)(tokens.patches.detach(), tokens.grid, tokens.cls.detach(), registers, normed=False)
    model.project(held, "alone").cls.sum().backward()
    assert registers.grad[:, 1].any() and not registers.grad[:, [0, 2]].any()


@pytest.mark.parametrize("kind", ["transformer", "ln_mlp"])
def test_written_and_read_again(kind: str, tmp_path: Path) -> None:
    model = student(kind)
    state = model.state_dict()
    projectors, statistics, described = {}, {}, []
    for t in TARGETS:
        start = f"projectors.{t.name}."
        projectors[t.name] = {k.removeprefix(start): v for k, v in state.items() if k.startswith(start)}
        of = f"target_statistics.{t.name}"
        statistics[t.name] = {
            k: tuple(state[f"{of}.{k}.{part}"] for part in ("mean", "std")) for k in t.kinds
        }
        said = {"name": t.name, "dim": t.dim, "kinds": list(t.kinds), "licence": "x", "cls_dim": t.cls_dim}
        described.append({**said, "pooled": t.pooled, "token": t.token})
    weights = StudentWeights(
        encoder=model.encoder.weights(),
        projectors=projectors,
        statistics=statistics,
        teachers=tuple(described),
        proj_args=asdict(model.projector_config),
    )
    again = load_student(str(write_export(tmp_path / "export", weights)))
    assert again.targets == TARGETS
    images = torch.randn(2, 3, 14, 14)
    found = again(images)
    for name, tokens in model(images).items():
        assert torch.equal(found[name].patches, tokens.patches), name
        assert tokens.cls is None or torch.equal(found[name].cls, tokens.cls), name


@pytest.mark.parametrize("name", ["wide", "alone"])
def test_folded_teachers_give_denormalized_tokens(name: str) -> None:
    """Also of a teacher of class tokens alone, which has no statistics of patches."""
    model = student()
    images = torch.randn(2, 3, 14, 14)
    tokens = model.encoder(images, norm=False)
    wanted, view = model.project(tokens, name, denormalize=True), TeacherView(model, name)(images)
    torch.testing.assert_close(view.cls, wanted.cls, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(view.patches, wanted.patches, atol=1e-5, rtol=1e-5)

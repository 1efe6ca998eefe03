"""Adaptors: parts by hand, invariances, sharing, a round trip through an export, folded de-normalization."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear

from codistill.distill.calibration import phi_s
from codistill.encoders.vit import ViTEncoder
from codistill.errors import ConfigError
from codistill.nn.vit import ViTConfig
from codistill.recipes.idle import check_recipe
from codistill.recipes.registry import find_recipe
from codistill.student.adaptors import AttentionHead, LayerNormMlp, ResidualMlp
from codistill.student.folding import TeacherView
from codistill.student.load import load_student
from codistill.student.projectors import PROJECTORS, ProjectorConfig, StudentShape, find_projector
from codistill.student.student import Student
from codistill.types import TargetSpec, TokenKind, Tokens
from codistill.weights.contents import EncoderWeights, StudentWeights
from codistill.weights.export import write_export

ADAPTORS = ("ln_mlp", "siglino", "radio_mlp", "radio_attention")
VIT = ViTConfig(dim=32, depth=2, num_heads=2, image_size=28, num_registers=2)


def student(config: ProjectorConfig, rotated: bool = False) -> Student:
    """Two teachers, one of patches alone, with statistics that are not those of the beginning."""
    torch.manual_seed(0)
    targets = (TargetSpec(name="a", dim=12), TargetSpec(name="b", dim=20, kinds=("patch",)))
    made = Student(ViTEncoder(VIT), targets, config, rotated_targets=rotated)
    for statistics in made.target_statistics.values():
        for kind in statistics.values():  # type: ignore[operator]
            kind.mean.normal_()
            kind.std.uniform_(0.5, 2.0)
            kind.std[0] = 0.0  # below the floor
            if rotated:
                x = torch.randn(40, len(kind.mean))
                kind.rotation.copy_(phi_s(torch.cov(x.T))[0])
    return made.eval()


def normed(x: Tensor, layer: torch.nn.Module) -> Tensor:
    return layer_norm(x, x.shape[-1:], layer.weight, layer.bias, 1e-6)  # type: ignore[arg-type]


def test_eupe_head_by_hand_ignores_scale_and_has_no_biases() -> None:
    torch.manual_seed(1)
    head, x = LayerNormMlp(8, 24, 5), torch.randn(3, 4, 8)
    wanted = linear(gelu(normed(linear(x, head.first.weight), head.norm)), head.last.weight)
    torch.testing.assert_close(head(x), wanted)
    torch.testing.assert_close(head(1000.0 * x), head(100.0 * x))
    assert head.first.bias is None and head.last.bias is None
    published = find_projector("ln_mlp").build(
        ProjectorConfig(kind="ln_mlp"), StudentShape(dim=8, depth=2, num_heads=1), 5, ("cls", "patch")
    )
    assert {n: tuple(p.shape) for n, p in published.named_parameters() if "first" in n} == {
        "cls.first.weight": (3072, 8),
        "patch.first.weight": (3072, 8),
    }


def test_radio_heads_by_hand() -> None:
    torch.manual_seed(2)
    head, x = ResidualMlp(8, 6, 5, num_residual=2, pre_norm=True), torch.randn(3, 4, 8)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    y = head.first(gelu(normed(x, head.before[0])))  # type: ignore[index]
    for layer in head.residual:
        y = y + layer[2](gelu(normed(y, layer[0])))  # type: ignore[index]
    torch.testing.assert_close(head(x), head.last(gelu(normed(y, head.after[0]))))
    attention = AttentionHead(8, 6, 5, num_blocks=2, num_heads=4)
    y = attention.blocks[1](attention.blocks[0](x))
    torch.testing.assert_close(attention(x), attention.mlp(y))
    assert len(attention.mlp.residual) == 0 and attention.blocks[0].ls1.gamma[0].item() == pytest.approx(1e-5)


def test_siglino_has_one_head_at_the_teachers_width() -> None:
    made = student(ProjectorConfig(kind="siglino"))
    shapes = {n: tuple(p.shape) for n, p in made.projectors["a"].named_parameters()}
    assert shapes == {
        "both.first.weight": (12, 32),
        "both.first.bias": (12,),
        "both.norm.weight": (12,),
        "both.norm.bias": (12,),
        "both.last.weight": (12, 12),
    }


@pytest.mark.parametrize("kind", ADAPTORS)
def test_only_the_wanted_kinds_are_given_and_every_parameter_trains(kind: str) -> None:
    made = student(ProjectorConfig(kind=kind))
    out = made(torch.randn(2, 3, 28, 28))
    assert out["a"].cls is not None and out["a"].cls.shape == (2, 12)
    assert out["b"].cls is None and out["b"].patches.shape == (2, 4, 20)
    sum(t.patches.sum() + (0 if t.cls is None else t.cls.sum()) for t in out.values()).backward()  # type: ignore[union-attr]
    assert all(p.grad is not None for p in made.projectors.parameters())
    only = find_projector(kind).build(
        ProjectorConfig(kind=kind), StudentShape(dim=32, depth=2, num_heads=2), 7, ("cls",)
    )
    tokens = Tokens(patches=torch.randn(2, 4, 32), grid=(2, 2), cls=torch.randn(2, 32), normed=False)
    assert only([tokens]).cls.shape == (2, 7) and only([tokens]).patches.shape == (2, 0, 7)


def test_a_shared_head_serves_both_kinds() -> None:
    made = student(ProjectorConfig(kind="ln_mlp", shared=True, hidden=16))
    tokens = made.encoder(torch.randn(2, 3, 28, 28), norm=False)
    as_patch = Tokens(patches=tokens.cls[:, None], grid=(1, 1), cls=tokens.cls, normed=False)  # type: ignore[index]
    out = made.project(as_patch, "a")
    torch.testing.assert_close(out.cls, out.patches[:, 0])


@pytest.mark.parametrize("kind", ADAPTORS)
def test_an_export_is_loaded_as_it_was(kind: str, tmp_path: Path) -> None:
    options = {"hidden": 16, "num_blocks": 1, "num_heads": 4, "pre_norm": True, "shared": True}
    config = ProjectorConfig(kind=kind, **{k: v for k, v in options.items() if k in PROJECTORS[kind].options})
    made = student(config)
    weights = StudentWeights(
        encoder=EncoderWeights(config=VIT, tensors=made.encoder.state_dict(), layout="test", name="s"),
        projectors={n: dict(p.state_dict()) for n, p in made.projectors.items()},
        statistics={
            n: {k: (s.mean, s.std) for k, s in of.items()}  # type: ignore[union-attr, operator, misc]
            for n, of in made.target_statistics.items()
        },
        teachers=tuple({"name": t.name, "dim": t.dim, "kinds": list(t.kinds)} for t in made.targets),
        proj_args={**config.__dict__},
    )
    loaded = load_student(str(write_export(tmp_path / "export", weights)))
    images = torch.randn(1, 3, 28, 28)
    assert loaded.projector_config == config
    for name in ("a", "b"):
        assert torch.equal(loaded(images)[name].patches, made(images)[name].patches)


@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize("kind", ["transformer", "ladder", "mlp", *ADAPTORS])
def test_folded_denormalization_gives_the_teachers_own_space(kind: str, rotated: bool) -> None:
    made = student(ProjectorConfig(kind=kind), rotated)
    for parameter in made.projectors.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    images = torch.randn(2, 3, 28, 28)
    blocks = made.encoder.intermediate(images, made.projector_blocks, norm=False)
    for name, kinds in (("a", ("cls", "patch")), ("b", ("patch",))):
        wanted, got = made.project(blocks, name, denormalize=True), TeacherView(made, name)(images)
        for of_kind in kinds:
            k: TokenKind = of_kind  # type: ignore[assignment]
            torch.testing.assert_close(got.of_kind(k), wanted.of_kind(k), rtol=1e-4, atol=1e-4)
        assert (got.cls is None) == ("cls" not in kinds)
    with pytest.raises(ConfigError, match="Unknown teacher 'c'"):
        TeacherView(made, "c")


def test_heads_that_do_not_divide_the_width_are_refused_before_anything_loads() -> None:
    recipe = find_recipe("debug")
    projector = ProjectorConfig(kind="radio_attention", num_heads=7)
    with pytest.raises(ConfigError, match=r"num_heads = 7 does not divide the student's width 64"):
        check_recipe(replace(recipe, student=replace(recipe.student, projector=projector)))

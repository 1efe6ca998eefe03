"""Teachers: any encoder, matched grids, a convolutional network of another stride, refusals."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from codistill.encoders.base import Encoder, renormalize
from codistill.encoders.seeded import seeded_encoder
from codistill.errors import ConfigError
from codistill.recipes.build import build_bank
from codistill.recipes.registry import find_recipe
from codistill.teachers.bank import TeacherBank
from codistill.teachers.teacher import Teacher, TeacherConfig, resize_for_patch, resize_tokens
from codistill.types import EncoderSpec, Tokens
from shared_files import golden


class ConvTeacher(Encoder):
    """The adapter of the documentation: a convolutional network of stride 32 as a teacher."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width_in, width_out in ((3, 8), (8, 8), (8, 16), (16, 16), (16, 24)):
            layers += [nn.Conv2d(width_in, width_out, 3, stride=2, padding=1), nn.ReLU()]
        self.network = nn.Sequential(*layers)
        self.spec = EncoderSpec(
            name="conv", dim=24, patch_size=32, has_cls=False, mean=(0.5,) * 3, std=(0.5,) * 3
        )

    def encode(self, images: torch.Tensor, norm: bool = True) -> Tokens:
        features = self.network(images)
        return Tokens(
            patches=features.flatten(2).transpose(1, 2), grid=tuple(features.shape[-2:]), normed=norm
        )


def teacher(text: str = "random:vit_tiny,dim=32,num_heads=2,depth=1", **config: object) -> Teacher:
    return Teacher(TeacherConfig(name="t", **config), seeded_encoder(text))  # type: ignore[arg-type]


def test_grids_match_whatever_the_patch_size() -> None:
    images = torch.randn(2, 3, 42, 70)
    for patch in (7, 14, 16):
        tokens = teacher(f"random:vit_tiny,dim=32,num_heads=2,depth=1,patch_size={patch}")(images, 14)
        assert tokens.grid == (3, 5)
    convolutional = Teacher(TeacherConfig(name="conv"), ConvTeacher())
    assert convolutional.kinds == ("patch",)
    assert convolutional(images, 14).patches.shape == (2, 15, 24)


def test_teacher_sees_the_published_image() -> None:
    recorded = load_file(golden("dune_nano_forward.safetensors"))
    got = renormalize(
        resize_for_patch(recorded["teacher_image/student_image"], 14, 16), (0.5,) * 3, (0.5,) * 3
    )
    torch.testing.assert_close(got, recorded["teacher_image/patch16_mean_std_half"], atol=1e-6, rtol=0)


def test_same_patch_size_is_not_resized() -> None:
    images = torch.randn(1, 3, 28, 28)
    assert resize_for_patch(images, 14, 14) is images


def test_a_teacher_at_its_own_size_gives_the_students_grid() -> None:
    own = teacher("random:vit_tiny,dim=32,num_heads=2,depth=1,patch_size=16", image_size=64)
    images = torch.randn(2, 3, 42, 42)
    tokens = own(images, 14)
    assert tokens.grid == (3, 3)
    big = torch.nn.functional.interpolate(images, size=(64, 64), mode="bicubic", antialias=True)
    alone = own.encoder(big)
    maps = torch.nn.functional.interpolate(alone.feature_map(), size=(3, 3), mode="bilinear", antialias=True)
    torch.testing.assert_close(tokens.feature_map(), maps)
    torch.testing.assert_close(tokens.cls, alone.cls)
    assert own(torch.randn(1, 3, 112, 112), 14).grid == (8, 8)  # enlarged from 4 x 4
    constant = Tokens(patches=torch.ones(1, 16, 5), grid=(4, 4))
    torch.testing.assert_close(resize_tokens(constant, (7, 3)).patches, torch.ones(1, 21, 5))
    with pytest.raises(ConfigError, match="needs square images; got 42x56"):
        own(torch.randn(1, 3, 42, 56), 14)
    with pytest.raises(ConfigError, match="nearest: 64"):
        teacher("random:vit_tiny,dim=32,num_heads=2,depth=1,patch_size=16", image_size=60)


def test_bank_runs_only_the_rows_and_never_trains() -> None:
    seen: dict[str, int] = {}

    class Counting(ConvTeacher):
        def encode(self, images: torch.Tensor, norm: bool = True) -> Tokens:
            seen[self.spec.name] = seen.get(self.spec.name, 0) + images.shape[0]
            return super().encode(images, norm)

    bank = TeacherBank([Teacher(TeacherConfig(name=n), Counting()) for n in ("a", "b")], 14).train()
    out = bank(torch.randn(6, 3, 28, 28), {"a": slice(1, 3), "b": None})
    assert seen == {"conv": 8}
    assert out["a"].patches.shape[0] == 2
    assert not out["b"].patches.requires_grad
    assert not any(module.training for module in bank.teachers.modules() if isinstance(module, Encoder))
    assert not any(parameter.requires_grad for parameter in bank.parameters())


def test_one_encoder_that_is_several_teachers_runs_once_where_they_see_the_same() -> None:
    named = "random:vit_tiny,dim=32,num_heads=2,depth=1"
    given = [
        TeacherConfig(name="a", encoder=named, kinds=("cls", "patch")),
        TeacherConfig(name="b", encoder=named, domain="3d", kinds=("patch",)),
        TeacherConfig(name="c", encoder=named, domain="human", norm=False),
        TeacherConfig(name="d", encoder=f"{named},seed=1"),
    ]
    bank = build_bank(replace(find_recipe("debug"), teachers=tuple(given)))
    calls: list[int] = []
    bank["a"].encoder.register_forward_hook(lambda module, inputs, output: calls.append(len(inputs[0])))
    images = torch.randn(3, 3, 28, 28)
    alone = {
        config.name: TeacherBank([Teacher(config, seeded_encoder(str(config.encoder)))], 14)
        for config in given
    }
    targets = bank(images, {})
    assert calls == [3, 3]  # a and b, c
    for name, one in alone.items():
        assert torch.equal(targets[name].patches, one(images, {})[name].patches)
    calls.clear()
    some = bank(images, {"b": torch.tensor([0, 2])})
    assert calls == [3, 2, 3] and torch.equal(some["b"].patches, targets["b"].patches[[0, 2]])


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="no class token"):
        Teacher(TeacherConfig(name="conv", kinds=("cls",)), ConvTeacher())
    with pytest.raises(ConfigError, match="at least one teacher"):
        TeacherBank([], 14)
    with pytest.raises(ConfigError, match="must differ; got t, t"):
        TeacherBank([teacher(), teacher()], 14)
    with pytest.raises(ConfigError, match=r"hold '\.'"):
        TeacherConfig(name="a.b")
    with pytest.raises(ConfigError, match="weight of teacher 't' must be"):
        TeacherConfig(name="t", weight=-1.0)
    wrong = ConvTeacher()
    wrong.spec = EncoderSpec(name="conv", dim=24, patch_size=16, has_cls=False)
    with pytest.raises(ConfigError, match="gives a 2x2 grid where the student has 4x4"):
        Teacher(TeacherConfig(name="conv"), wrong)(torch.randn(1, 3, 56, 56), 14)


def test_licences_are_described() -> None:
    described = TeacherBank([teacher(domain="3d")], 14).describe()[0]
    assert described["licence"] == "none (random weights)"
    assert described["domain"] == "3d"
    assert described["kinds"] == ["cls", "patch"]


def test_a_summary_of_another_width_is_a_target_of_its_own() -> None:
    encoder = seeded_encoder("random:vit_tiny,dim=16,depth=1,num_heads=2")
    encoder.spec = replace(encoder.spec, cls_dim=48)
    both = Teacher(TeacherConfig(name="radio"), encoder)
    assert (both.width("cls"), both.width("patch"), both.cls_dim) == (48, 16, 48)
    alone = Teacher(TeacherConfig(name="radio", kinds=("cls",)), encoder)
    specs = [TeacherBank([one], 14).target_specs()[0] for one in (both, alone)]
    assert [(spec.dim, spec.cls_dim) for spec in specs] == [(16, 48), (48, None)]
    assert TeacherBank([both], 14).describe()[0]["cls_dim"] == 48
    assert Teacher(TeacherConfig(name="radio", kinds=("patch",)), encoder).cls_dim is None


def test_a_pool_that_a_teacher_does_not_have_is_refused() -> None:
    encoder = seeded_encoder("random:vit_tiny,dim=16,depth=1,num_heads=2")
    with pytest.raises(ConfigError, match=r"has no pool that reads patches alone .*summary=pooled"):
        Teacher(TeacherConfig(name="radio", pool_predictions=True), encoder)
    with pytest.raises(ConfigError, match="needs both token kinds, cls and patch"):
        Teacher(TeacherConfig(name="radio", pool_predictions=True, kinds=("patch",)), encoder)

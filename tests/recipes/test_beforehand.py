"""What is refused before any weights are read, and summaries of several teachers as a user trains them."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import codistill
from codistill.cli import main
from codistill.distill.losses import LossConfig
from codistill.distill.targets import TargetConfig
from codistill.encoders.facts import EncoderFacts, facts_of
from codistill.errors import ConfigError
from codistill.files.config import load_yaml
from codistill.recipes import beforehand, build
from codistill.recipes.fresh_student import build_student, with_class_tokens
from codistill.recipes.recipe import Recipe, StudentConfig
from codistill.recipes.registry import find_recipe
from codistill.student.projectors import ProjectorConfig
from codistill.teachers.teacher import TeacherConfig
from codistill.types import TargetSpec

timm = pytest.importorskip("timm")
NO_POOL = EncoderFacts(pools_patches=False, only_normed=False)
KNOWN_SIZES = {
    "dinov2_vitl14_reg": replace(NO_POOL, patch_size=14),
    "mast3r_vitlarge_16": replace(NO_POOL, patch_size=16),
    "dinov3_vits16,summary=cls": replace(NO_POOL, patch_size=16, dim=384, has_cls=True, cls_dim=384),
    "siglip2_b16_256": replace(NO_POOL, patch_size=16, dim=768, has_cls=False),
    "siglip2_b16_256,summary=pooled": EncoderFacts(
        patch_size=16, dim=768, has_cls=True, cls_dim=768, pools_patches=True, only_normed=True
    ),
    "timm:test_convnext": replace(NO_POOL, patch_size=32, dim=64, has_cls=False),
    "random:vit_tiny,patch_size=7,dim=32,num_heads=2": replace(
        NO_POOL, patch_size=7, dim=32, has_cls=True, cls_dim=32
    ),
    "hf:org/name": EncoderFacts(only_normed=False),
    "hf:org/name,summary=projected": EncoderFacts(only_normed=True),
    "nothing at all": EncoderFacts(),
}


@pytest.mark.parametrize("text", KNOWN_SIZES)
def test_names_tell_sizes(text: str) -> None:
    assert facts_of(text) == KNOWN_SIZES[text]


def test_files_tell_sizes(tmp_path: Path) -> None:
    encoder = codistill.load_encoder("random:vit_tiny,patch_size=7,dim=32,num_heads=2,depth=1")
    state = {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    save_file(state, tmp_path / "file.safetensors")
    torch.save({"model": state}, tmp_path / "file.pth")
    encoder.save_pretrained(tmp_path / "folder")
    assert facts_of(str(tmp_path / "file.safetensors")) == EncoderFacts(patch_size=7, dim=32)
    assert facts_of(f"{tmp_path}/file.pth,num_heads=2,precision=bf16") == EncoderFacts(patch_size=7, dim=32)
    whole = EncoderFacts(patch_size=7, dim=32, has_cls=True, cls_dim=32)
    assert facts_of(str(tmp_path / "folder")) == whole
    (tmp_path / "damaged.pth").write_bytes(b"PK" + bytes(100))
    assert facts_of(str(tmp_path / "damaged.pth")) == EncoderFacts()


@pytest.mark.parametrize(
    ("name", "encoder", "more", "error"),
    [
        (
            "big",
            "dinov3_vit7b16",
            {"image_size": 250},
            "image_size 250 of teacher 'big' is not a multiple .* 16",
        ),
        (
            "old",
            "dinov2_vitg14",
            {"image_sizes": (224, 256)},
            "image_size 256 of teacher 'old' .* nearest: 252",
        ),
        ("sig", "siglip2_g16_384", {"kinds": ("cls",)}, "'sig' .* has no class token.* summary=pooled"),
        ("conv", "timm:test_convnext,summary=cls", {}, "has no summary=cls: it has no class token"),
        (
            "sam",
            "dinov3_vitb16",
            {"image_size": 112, "mosaic": True, "kinds": ("patch",)},
            "mosaic of teacher 'sam' would have no effect: .* 4 tokens .* has 7.* to 128 at least",
        ),
        (
            "sig",
            "siglip2_b16_256,summary=pooled",
            {"norm": False, "kinds": ("patch",)},
            "'sig' .* only after the final norm. Leave out norm",
        ),
        (
            "pe",
            "timm:vit_pe_core_base_patch16_224,summary=pooled",
            {"pool_predictions": True},
            "'pe' .* has no pool that reads patches alone",
        ),
        (
            "dino",
            "dinov2_vitb14",
            {"pool_predictions": True, "kinds": ("patch",)},
            "'dino' needs both token kinds",
        ),
        ("nothing", "dinov2_vitb14", {"weight": 0.0}, r"weights of all teachers \(first, nothing\) are 0"),
    ],
)
def test_impossible_teachers_are_refused_before_any_is_loaded(
    name: str, encoder: str, more: dict[str, object], error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: object) -> None:
        raise AssertionError("something was loaded")

    monkeypatch.setattr(build, "load_encoder", load)
    first = TeacherConfig(name="first", encoder="dinov2_vits14", weight=0.0 if "weight" in more else 1.0)
    config = TeacherConfig(name=name, encoder=encoder, **more)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=error):
        build.build_objective(replace(find_recipe("debug"), teachers=(first, config)))


def test_one_head_for_two_widths_is_refused_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(build, "load_encoder", lambda *_: pytest.fail("something was loaded"))
    facts = replace(NO_POOL, patch_size=14, dim=768, has_cls=True, cls_dim=1024)
    monkeypatch.setattr(beforehand, "facts_of", lambda _: facts)
    debug = find_recipe("debug")
    student = replace(debug.student, projector=ProjectorConfig(kind="radio_mlp", shared=True))
    with pytest.raises(
        ConfigError, match=r"class tokens \(1024 channels\) and patches \(768\) cannot give both"
    ):
        build.build_objective(replace(debug, student=student))


NETWORK = {
    "network": "timm:test_convnext",
    "patch_size": 32,
    **dict.fromkeys(("dim", "depth", "num_heads")),
    **{name: getattr(StudentConfig(), name) for name in ("size", "num_registers", "layer_scale")},
}


@pytest.mark.parametrize(
    ("student", "error"),
    [
        ({"size": "vit_smal", "dim": None, "depth": None, "num_heads": None}, "Did you mean 'vit_small'"),
        ({"window": 2}, "num_global 4 is more than the 2 blocks"),
        ({"num_registers": -1}, "num_registers must be 0 or more"),
        (
            {**NETWORK, "projector": ProjectorConfig(num_heads=3)},
            "num_heads = 3 does not divide the student's width 64. Choose a divisor",
        ),
    ],
)
def test_impossible_students_are_refused_before_anything_is_loaded(
    student: dict[str, object], error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "load_encoder", lambda *_: pytest.fail("something was loaded"))
    debug = find_recipe("debug")
    student = replace(debug.student, **student)  # type: ignore[arg-type,assignment]
    with pytest.raises(ConfigError, match=error):
        build.build_objective(replace(debug, student=student, image_size=4 * student.patch_size))  # type: ignore[attr-defined]


def test_class_tokens_without_a_loss_are_refused_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The debug recipe's first teacher has a class token, which only its encoder's name tells."""
    monkeypatch.setattr(build, "load_encoder", lambda *_: pytest.fail("something was loaded"))
    debug = find_recipe("debug")
    patches = replace(debug.distill, loss=LossConfig(weights={"gram": 1.0}))
    with pytest.raises(ConfigError, match=r"no term of .* is for class tokens"):
        build.build_objective(replace(debug, distill=patches))


def test_a_width_without_phi_s_is_refused_before_anything_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "load_encoder", lambda *_: pytest.fail("something was loaded"))
    debug = find_recipe("debug")
    wide = TeacherConfig(name="odd", encoder="random:vit_tiny,dim=30,num_heads=2")
    targets = TargetConfig(statistics="fixed", transform="phi_s")
    recipe = replace(debug, teachers=(wide,), distill=replace(debug.distill, targets=targets))
    with pytest.raises(ConfigError, match=r"no Hadamard matrix of order 30 .* transform = channels"):
        build.build_objective(recipe)


RUN = [
    *(
        "distill",
        "debug",
        "--engine.total-steps=2",
        "--engine.checkpoint-every=1",
        "--engine.validate-every=2",
    ),
    "--teacher=one,random:vit_tiny,dim=64,num_heads=2,depth=1,seed=1",
    "--teacher=two,random:vit_tiny,dim=48,num_heads=2,depth=1,patch_size=16,seed=2",
    "--teacher=three,random:vit_tiny,dim=32,num_heads=2,depth=1,seed=3,kinds=patch,domain=human",
    "--student.class-tokens=per_teacher",
    "--student.num-registers=2",
]


def test_a_class_token_per_teacher_is_trained_saved_and_started_from(tmp_path: Path) -> None:
    assert main([*RUN, "--out", str(tmp_path / "run")]) == 0
    config = json.loads((tmp_path / "run" / "export" / "config.json").read_text())
    assert [teacher.get("token", 0) for teacher in config["teachers"]] == [0, 1, 0]
    assert config["architecture"]["num_registers"] == 3
    student = codistill.load_student(str(tmp_path / "run"))
    tokens = student.encoder(torch.randn(1, 3, 56, 56), norm=False)
    mapped = student.projectors["two"]([replace(tokens, cls=tokens.registers[:, 0])])
    torch.testing.assert_close(student.project(tokens, "two").cls, mapped.cls)
    assert main([*RUN, f"--student.init={tmp_path}/run", "--out", str(tmp_path / "next")]) == 0


def test_every_teacher_keeps_its_class_token_in_another_order_and_company() -> None:
    config = StudentConfig(class_tokens="per_teacher")

    def tokens(names: str, before: Sequence[TargetSpec] = ()) -> dict[str, int]:
        found = with_class_tokens(config, [TargetSpec(name=name, dim=4) for name in names], before)
        return {target.name: target.token for target in found}

    first = with_class_tokens(config, [TargetSpec(name=name, dim=4) for name in "abc"])
    assert tokens("cab", first) == {"c": 2, "a": 0, "b": 1}
    assert tokens("dcab", first) == {"d": 3, "c": 2, "a": 0, "b": 1}
    assert tokens("cb", first) == {"c": 2, "b": 1}
    assert tokens("dc", first) == {"d": 0, "c": 2}
    shared = [TargetSpec(name=name, dim=4) for name in "abc"]
    assert tokens("cab", shared) == {"c": 0, "a": 1, "b": 2}


@pytest.mark.parametrize("order", [(1, 0, 2), (2, 1)])
def test_a_student_started_from_predicts_the_same_for_teachers_in_another_order(
    order: tuple[int, ...], tmp_path: Path
) -> None:
    assert main([*RUN, "--out", str(tmp_path / "run")]) == 0
    before = codistill.load_student(str(tmp_path / "run"))
    recipe = load_yaml(Recipe, tmp_path / "run" / "config.yaml")
    config = replace(recipe.student, init=str(tmp_path / "run"))
    student, fresh = build_student(replace(recipe, student=config), [before.targets[at] for at in order])
    assert not fresh
    images = torch.randn(1, 3, 56, 56)
    ours, theirs = student.eval()(images), before(images)
    for name, tokens in ours.items():
        torch.testing.assert_close(tokens.patches, theirs[name].patches)
        torch.testing.assert_close(tokens.cls, theirs[name].cls)


def test_class_tokens_of_one_teacher_are_no_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["distill", "debug", "--student.class-tokens=per_teacher", "--out", str(tmp_path / "run")]
    assert main(argv) == 2
    assert "fewer than two teachers have class tokens" in " ".join(capsys.readouterr().err.split())

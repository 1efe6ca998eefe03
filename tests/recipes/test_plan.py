"""What a recipe costs: counted operations against the textbook's sums, shares, rates, what is printed."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from codistill.commands import plan as command
from codistill.data.mixing import MixConfig
from codistill.data.source import SourceConfig
from codistill.distill.mesa import MesaConfig
from codistill.encoders.load import load_encoder
from codistill.errors import ConfigError
from codistill.nn.products import count_flops
from codistill.recipes.build import build_bank
from codistill.recipes.fresh_student import build_encoder
from codistill.recipes.plan import Work, plan_run, share_of, teacher_size, work_of
from codistill.recipes.registry import find_recipe
from codistill.student.projectors import ProjectorConfig
from codistill.tasks.shared.unfrozen import unfrozen, write_unfrozen
from codistill.teachers.teacher import TeacherConfig


def vit_flops(dim: int, depth: int, tokens: int, patches: int, patch: int) -> float:
    """12 D² products and 2 N D of attention for each token and block, two operations each; and the embedding."""
    return depth * (24 * tokens * dim**2 + 4 * tokens**2 * dim) + 2 * patches * 3 * patch**2 * dim


def test_operations_of_the_published_recipe_are_the_textbooks() -> None:
    recipe = find_recipe("dune-vitbase14-336")
    work = work_of(recipe)
    encoder = vit_flops(768, 12, 24 * 24 + 1 + 4, 24 * 24, 14)
    assert work.encoder == pytest.approx(3 * encoder, rel=1e-6)
    projector = vit_flops(768, 1, 577, 0, 14) + 2 * 577 * 768 * 1024
    assert work.projectors == pytest.approx(3 * 3 * projector, rel=1e-6)
    for name, patch in (("dino2reg_vitlarge_14", 14), ("mast3r_vitlarge_16", 16)):
        assert work.teachers[name] == pytest.approx(vit_flops(1024, 24, 577, 576, patch), rel=1e-6)
    trained = 85.97e6 + 23.6e6  # DUNE's README; mask token and final norm have no gradient
    assert work.gradient_bytes == pytest.approx(4 * trained, rel=1e-3)


def test_a_frozen_encoder_has_no_gradients_to_send() -> None:
    recipe = find_recipe("debug")
    student = replace(recipe.student, freeze_encoder=True)
    work, frozen = work_of(recipe), work_of(replace(recipe, student=student))
    encoder = build_encoder(student, recipe.image_size).parameters()
    trained = sum(p.numel() for p in encoder)  # mask token and final norm have no gradient
    assert work.gradient_bytes - frozen.gradient_bytes == pytest.approx(4 * trained, rel=2e-3)
    assert frozen.encoder == work.encoder / 3


def test_a_backward_pass_costs_twice_the_forward_one() -> None:
    recipe = find_recipe("debug")
    encoder = build_encoder(recipe.student, recipe.image_size)
    images = torch.zeros(1, 3, recipe.image_size, recipe.image_size)
    counted = count_flops(lambda: encoder(images, norm=False).patches.sum().backward())
    # The first layer needs no gradient for the images.
    assert 0.9 * work_of(recipe).encoder < counted <= work_of(recipe).encoder


def test_the_moving_averages_pass_counts_from_where_mesa_starts() -> None:
    recipe = find_recipe("debug")
    agreeing = replace(recipe, distill=replace(recipe.distill, mesa=MesaConfig(weight=1.0, start=0.25)))
    assert work_of(agreeing).encoder == pytest.approx(work_of(recipe).encoder * 3.75 / 3)


def test_shares_follow_the_mixture() -> None:
    recipe = find_recipe("dune-vitbase14-336")
    dino, mast3r, _ = recipe.teachers

    def with_sharing(**options: object):
        return replace(
            recipe, distill=replace(recipe.distill, sharing=replace(recipe.distill.sharing, **options))
        )

    none = with_sharing(mode="none")
    assert share_of(recipe, mast3r) == 1.0
    assert share_of(none, mast3r) == share_of(none, dino) == pytest.approx(1 / 3)
    assert share_of(with_sharing(mode="generic"), mast3r) == pytest.approx(2 / 3)
    in19k = 13_153_480 / (13_153_480 + 4_132_914 + 1_205_907)
    some = with_sharing(mode="generic", shared_sources=("in19k",))
    assert share_of(some, mast3r) == pytest.approx((1 + in19k) / 3)
    assert share_of(with_sharing(mode="none", skip_untaught=False), mast3r) == 1.0
    weighted = replace(
        none, mix=MixConfig(mode="weighted", weights=(("generic", 6.0), ("3d", 1.0), ("human", 1.0)))
    )
    assert [share_of(weighted, one) for one in recipe.teachers] == [6 / 8, 1 / 8, 1 / 8]
    sizes: dict[str, int] = {}
    for source in recipe.training_sources:
        sizes[source.domain] = sizes.get(source.domain, 0) + source.expected
    proportional = replace(none, mix=MixConfig(mode="proportional"))
    assert share_of(proportional, mast3r) == pytest.approx(sizes["3d"] / sum(sizes.values()))
    full, less = work_of(recipe), work_of(none)
    assert less.encoder == full.encoder
    assert less.teachers["mast3r_vitlarge_16"] == pytest.approx(full.teachers["mast3r_vitlarge_16"] / 3)
    assert less.projectors == pytest.approx(full.projectors / 3)


@pytest.mark.parametrize("kind", ["transformer", "ladder"])
def test_each_projector_is_counted_on_its_own_share(kind: str) -> None:
    debug = find_recipe("debug")
    wide, narrow = (
        TeacherConfig(name=name, encoder=f"random:{size},depth=1", domain=domain)
        for name, size, domain in (("wide", "vit_base", "generic"), ("narrow", "vit_tiny", "3d"))
    )

    def work(mode: str, *teachers: TeacherConfig) -> Work:
        sources = (
            SourceConfig(name="g", path="noise:8", domain="generic", kind="generated"),
            SourceConfig(name="r", path="noise:8", domain="3d", kind="generated"),
        )
        blocks = (0, 1) if kind == "ladder" else None
        student = replace(debug.student, projector=ProjectorConfig(kind=kind, blocks=blocks))
        sharing = replace(debug.distill.sharing, mode=mode)
        recipe = replace(debug, student=student, sources=sources, teachers=teachers, validation=())
        return work_of(replace(recipe, distill=replace(recipe.distill, sharing=sharing)))

    alone = [work("full", one).projectors for one in (wide, narrow)]
    assert alone[0] > 1.5 * alone[1]
    assert work("full", wide, narrow).projectors == pytest.approx(sum(alone))
    # The generic half of the images is for both, the other half for its own teacher alone.
    assert work("generic", wide, narrow).projectors == pytest.approx(0.5 * alone[0] + alone[1])


def test_division_among_gpus() -> None:
    recipe = find_recipe("dune-vitbase14-336")
    work = work_of(recipe)
    one = plan_run(recipe, work, 1, rate=1e14, network=1e10)
    assert one.communication == 0 and one.compute == pytest.approx(1024 * work.total / 1e14)
    four = plan_run(recipe, work, 4, rate=1e14, network=1e10)
    assert four.compute == pytest.approx(one.compute / 4)
    assert four.communication == pytest.approx(1.5 * work.gradient_bytes / 1e10)
    assert four.hours == pytest.approx(125_114 * (four.compute + four.communication) / 3600)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("dino2reg_vitlarge_14", ("vit_large", 14)),
        ("multihmr_vitlarge_14_672", ("vit_large", 14)),
        ("mast3r_vitlarge_16", ("vit_large", 16)),
        ("dinov2_vits14", ("vit_small", 14)),
        ("dinov2_vitg14_reg", ("vit_giant", 14)),
        ("timm:vit_base_patch16_siglip_224.webli", ("vit_base", 16)),
        ("random:vit_tiny,patch_size=16,seed=3", ("vit_tiny", 16)),
    ],
)
def test_sizes_of_teachers_are_in_their_names(name: str, size: tuple[str, int]) -> None:
    assert teacher_size(TeacherConfig(name="t", encoder=name)) == size


def test_the_command_shows_its_arithmetic(capsys: pytest.CaptureFixture) -> None:
    assert command.main(["dune-vitsmall14-448", "--gpus", "64", "--tflops", "200", "--price", "1"]) == 0
    text = capsys.readouterr().out
    assert "62,558 steps of 1024 = 64,059,392 images of 448 px" in text
    assert "16 images × 2.417 TFLOP / 200 TFLOP/s = 193.3 ms" in text
    assert "2 × 63/64 × 114 MB / 50 GB/s" in text
    argv = ["dune-vitsmall14-448", "--gpus", "64", "--tflops", "200", "--price", "1", "--json"]
    assert command.main(argv) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["steps"] == 62_558 and said["compute_seconds"] == pytest.approx(0.1933, rel=1e-3)
    assert said["hours"] == pytest.approx(said["steps"] * said["step_seconds"] / 3600)
    assert said["dollars"] == pytest.approx(64 * said["hours"])
    (before,) = said["hours_of_stages_before"].values()
    total = said["hours"] + before
    assert f"dune-vitsmall14-336 {before:.1f} h (as they ship)" in text
    assert f"{total:.1f} h = {64 * total:,.0f} GPU hours, ${64 * total:,.0f}" in text
    for wrong in (["--tflops", "nan"], ["--price", "-1"], ["--utilization", "29"], ["--network", "inf"]):
        with pytest.raises(ConfigError, match="must be positive"):
            command.main(["unic", *wrong])
    with pytest.raises(ConfigError, match="3 GPUs must divide the batch of 1024: add --gpus"):
        command.main(["unic", "--gpus", "3"])
    with pytest.raises(ConfigError, match="size of 'resnet50' does not follow"):
        command.main(["unic", "--teacher", "r,resnet50"])


def test_a_teacher_that_a_fit_has_trained_is_counted_and_built_by_its_path(tmp_path: Path) -> None:
    encoder = unfrozen(load_encoder("random:vit_tiny,dim=64,num_heads=2,depth=2"), "random:vit_tiny")
    write_unfrozen(
        tmp_path / "vit_large_14", encoder, named="random:vit_tiny", task="two-view", command=["fit"]
    )
    given = TeacherConfig(
        name="stereo", encoder=str(tmp_path / "vit_large_14" / "encoder"), domain="3d", kinds=("patch",)
    )
    recipe = replace(find_recipe("debug"), teachers=(given,))
    forward = vit_flops(64, 2, 17, 16, 14)  # of its own size, whatever its folder is called
    assert work_of(recipe).teachers["stereo"] == pytest.approx(forward, rel=1e-6)
    assert build_bank(recipe)["stereo"].encoder.spec.dim == 64


def test_a_teacher_that_ships_is_counted_by_its_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = unfrozen(load_encoder("random:vit_tiny,dim=64,num_heads=2,depth=2"), "random:vit_tiny")
    write_unfrozen(tmp_path / "fit", encoder, named="random:vit_tiny", task="two-view", command=["fit"])
    shipped = (tmp_path / "fit" / "encoder").rename(tmp_path / "specialist")
    (shipped / "card.json").write_text(json.dumps({"name": "specialist"}))
    monkeypatch.setenv("CODISTILL_MODELS", str(tmp_path))
    given = TeacherConfig(name="stereo", encoder="specialist", domain="3d", kinds=("patch",))
    work = work_of(replace(find_recipe("debug"), teachers=(given,)))
    assert work.teachers["stereo"] == pytest.approx(vit_flops(64, 2, 17, 16, 14), rel=1e-6)


def test_an_encoder_that_is_several_teachers_is_counted_once() -> None:
    recipe, named = find_recipe("debug"), "random:vit_tiny,dim=64,num_heads=2,depth=2"
    alike = [
        TeacherConfig(name=n, encoder=named, domain=d, kinds=("patch",))
        for n, d in zip("ab", ("generic", "3d"), strict=True)
    ]
    other = TeacherConfig(name="c", encoder=named, kinds=("patch",), norm=False)
    once = vit_flops(64, 2, 17, 16, 14)
    work = work_of(replace(recipe, teachers=(*alike, other)))
    assert work.teachers == {"a": pytest.approx(once), "b": 0.0, "c": pytest.approx(once)}
    apart = replace(recipe.distill, sharing=replace(recipe.distill.sharing, mode="none"))
    assert all(work_of(replace(recipe, teachers=tuple(alike), distill=apart)).teachers.values())

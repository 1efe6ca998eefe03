"""Training on from released encoders, at another size: DINOv2, MASt3R's; refusals that say what to add."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from codistill.cli import main
from codistill.encoders.load import load_encoder
from codistill.engine.objective import StepContext
from codistill.errors import ConfigError
from codistill.nn.position import resize_position_embedding
from codistill.recipes.build import build_objective
from codistill.recipes.fresh_student import build_student
from codistill.recipes.recipe import Recipe, StudentConfig
from codistill.recipes.registry import find_recipe
from codistill.student.load import load_student
from codistill.student.statistics import KindStatistics
from codistill.types import Batch, TargetSpec
from shared_files import golden, weights

PATCHES = (TargetSpec(name="t", dim=6, kinds=("patch",)),)


def recipe(init: str, image_size: int, **student: object) -> Recipe:
    config = StudentConfig(init=init, **student)  # type: ignore[arg-type]
    return replace(find_recipe("debug"), student=config, image_size=image_size)


def test_a_dinov2_file_at_another_size_keeps_its_features() -> None:
    path = str(weights())
    given = recipe(path, 84, size="vit_small", num_registers=0, drop_path=0.1)
    student, fresh = build_student(given, PATCHES)
    assert {line.split(".")[0] for line in fresh} == {"projectors", "target_statistics"}
    assert student.encoder.config.image_size == 84
    assert student.encoder.config.drop_path == 0.1
    released = load_encoder(path)
    expected = resize_position_embedding(released.pos_embed.float(), (6, 6), offset=None)  # type: ignore[arg-type]
    torch.testing.assert_close(student.encoder.pos_embed, expected)
    for name, tensor in released.state_dict().items():
        if name != "pos_embed":
            assert torch.equal(student.encoder.state_dict()[name], tensor), name
    # It trains: the first step's gradients reach the patch embedding.
    objective, _ = build_objective(given)
    batch = Batch(torch.randn(2, 3, 84, 84), ("generic",) * 2, ("a",) * 2, ("a",) * 2)
    objective.trainable.train()
    objective.step(objective.trainable, batch, StepContext(step=0, total_steps=2)).loss.backward()
    assert objective.trainable.encoder.patch_embed.proj.weight.grad.abs().sum() > 0  # type: ignore[union-attr]


def test_an_encoder_with_rope_and_its_own_normalization_stays_as_it_is() -> None:
    path = str(golden("mast3r_nano_released_layout.pth"))
    released = load_encoder(path)
    config = released.config  # type: ignore[union-attr]
    sizes = {name: getattr(config, name) for name in ("dim", "depth", "num_heads", "patch_size")}
    given = recipe(path, 96, num_registers=0, **sizes)
    student, _ = build_student(given, PATCHES)
    images = torch.randn(1, 3, 96, 64)
    with torch.no_grad():
        torch.testing.assert_close(student.encoder(images).patches, released(images).patches)
    with pytest.raises(ConfigError, match="no class token to match those of t"):
        build_student(given, (TargetSpec(name="t", dim=6),))


def test_other_sizes_are_refused_with_what_to_add() -> None:
    path = str(weights())
    with pytest.raises(ConfigError, match=r"Add: --student.size vit_small .*--student.num-registers 0"):
        build_student(recipe(path, 84), PATCHES)


def test_fixed_statistics_of_another_kind_are_taken_again(tmp_path: Path) -> None:
    fixed = ["--distill.targets.statistics=fixed", "--distill.targets.estimate-steps=2"]
    run = ["distill", "debug", "--engine.total-steps=2", "--engine.validate-every=0", *fixed]
    angular = ["--distill.loss.summary", "angular", "1"]

    def trained(name: str, *more: str) -> KindStatistics:
        assert main([*run, *more, "--out", str(tmp_path / name)]) == 0
        return load_student(str(tmp_path / name)).target_statistics["generic"]["cls"]  # type: ignore[index]

    plain, wanted = trained("plain"), trained("angular", *angular)
    found = trained("later", *angular, f"--student.init={tmp_path / 'plain'}")
    assert plain.mean.any() and not found.mean.any()
    assert torch.equal(found.std, wanted.std)

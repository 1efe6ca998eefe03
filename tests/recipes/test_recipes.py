"""Recipes: they build, they round-trip through YAML, their sizes are the published ones; users' own."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from codistill.errors import ConfigError
from codistill.files.config import changed_fields, dump_yaml, load_yaml
from codistill.recipes.build import build_objective
from codistill.recipes.fresh_student import build_encoder, build_student
from codistill.recipes.names import RECIPE_NAMES
from codistill.recipes.recipe import Recipe, published_steps
from codistill.recipes.registry import RECIPES, find_recipe
from codistill.student.student import Student
from codistill.types import TargetSpec


@pytest.mark.parametrize("name", RECIPES)
def test_yaml_round_trip(name: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(dump_yaml(RECIPES[name]))
    assert load_yaml(Recipe, path) == RECIPES[name]
    assert find_recipe(str(path)) == RECIPES[name]


# Published sizes in millions: encoder, three transformer projectors (DUNE's README).
@pytest.mark.parametrize(
    ("name", "encoder", "projectors"),
    [
        ("dune-vitbase14-336", 85.97, 23.6),
        ("dune-vitbase14-448", 86.32, 23.6),
        ("dune_vitsmall14_336", 21.75, 6.5),
        ("dune_vitsmall14_448", 21.93, 6.5),
    ],
)
def test_published_sizes(name: str, encoder: float, projectors: float) -> None:
    recipe = find_recipe(name)
    targets = tuple(TargetSpec(name=t.name, dim=1024, kinds=t.kinds or ("patch",)) for t in recipe.teachers)
    with torch.device("meta"):
        student = Student(build_encoder(recipe.student, recipe.image_size), targets, recipe.student.projector)
    count = sum(p.numel() for p in student.encoder.parameters()) / 1e6
    assert count == pytest.approx(encoder, abs=0.006)
    assert sum(p.numel() for p in student.projectors.parameters()) / 1e6 == pytest.approx(
        projectors, abs=0.06
    )


def test_published_schedule_length() -> None:
    # 100 * 1 281 167 = 128 116 700 images: 125 113.96 batches of 1024; 1 000 911.7 of 128; 4 003 646.9 of 32 (odd).
    assert published_steps(100, 1024) == 125_114
    assert published_steps(100, 128) == 1_000_912
    assert published_steps(100, 32) == 4_003_648
    assert find_recipe("dune-vitbase14-336").total_steps == 125_114


def test_second_stage_starts_from_the_first(tmp_path: Path) -> None:
    debug = find_recipe("debug")
    objective, fresh = build_objective(debug)
    assert fresh == []
    from codistill.weights.export import write_export
    from codistill.weights.layout_student import read_student
    from codistill.weights.state import StateDict
    from codistill.weights.stated import Stated

    state = StateDict.of_checkpoint(tmp_path / "first", {"model": objective.trainable.state_dict()})
    write_export(tmp_path / "first", read_student(state, Stated(num_heads=2, like="dune")))
    second = replace(debug, image_size=84, student=replace(debug.student, init=str(tmp_path / "first")))
    student, fresh = build_student(second, objective.trainable.targets)
    assert fresh == []
    assert student.encoder.pos_embed.shape[1] == 1 + 6 * 6
    for name, tensor in objective.trainable.state_dict().items():
        if name != "encoder.pos_embed":
            assert torch.equal(tensor, student.state_dict()[name]), name
    wider = replace(second, student=replace(second.student, dim=128))
    with pytest.raises(ConfigError, match=r"another architecture.*Add: --student\.dim 64 --student\.depth 2"):
        build_student(wider, objective.trainable.targets)
    tiny = replace(second.student, init="dune-tiny", dim=128, depth=None)  # what is given outweighs the size
    with pytest.raises(
        ConfigError, match=r"Add: --student\.size vit_tiny --student\.dim 192 --student\.num-heads 3"
    ):
        build_student(replace(second, student=tiny), objective.trainable.targets)
    other = (*objective.trainable.targets[:2], TargetSpec(name="new", dim=5))
    assert {name.split(".")[1] for name in build_student(second, other)[1]} == {"new"}


def test_frozen_encoder_trains_projectors_alone() -> None:
    debug = find_recipe("debug")
    frozen = replace(debug, student=replace(debug.student, freeze_encoder=True))
    student, _ = build_student(frozen, (TargetSpec(name="a", dim=4),))
    assert {n.split(".")[0] for n, p in student.named_parameters() if p.requires_grad} == {"projectors"}


@pytest.mark.parametrize("name", RECIPE_NAMES)
def test_recipes_leave_the_number_of_workers_to_the_machine(name: str) -> None:
    """Batches do not depend on it; 14 of a training cluster, on two CPUs, made PyTorch warn of a freeze."""
    assert (find_recipe(name).loader.num_workers or 0) <= 1


def test_users_own_python_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from dataclasses import replace\n"
        "from codistill.recipes.registry import find_recipe\n"
        "SMALL = replace(find_recipe('debug'), name='small', image_size=28)\n"
        "OTHER = 3\n"
    )
    assert find_recipe(f"{path}:SMALL").image_size == 28
    with pytest.raises(ConfigError, match="Did you mean 'SMALL'"):
        find_recipe(f"{path}:SMAL")
    with pytest.raises(ConfigError, match="OTHER is no recipe; its type is int"):
        find_recipe(f"{path}:OTHER")
    with pytest.raises(ConfigError, match="no such file"):
        find_recipe(f"{tmp_path}/nothing.py:A")


def test_a_run_resumes_when_its_recipe_is_described_in_other_words() -> None:
    recipe = find_recipe("debug")
    assert changed_fields(recipe, replace(recipe, about="in other words")) == []
    assert changed_fields(recipe, replace(recipe, image_size=70)) != []


def test_the_quick_list_of_names_is_that_of_the_recipes() -> None:
    assert tuple(sorted(RECIPES)) == RECIPE_NAMES

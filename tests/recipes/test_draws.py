"""Inputs of a recipe's networks over its draws: against what its own steps hold, and by hand."""

from dataclasses import replace

import pytest
import torch

from codistill.recipes.draws import DRAWN, draws_of
from codistill.recipes.plan import plan_run, work_of
from codistill.recipes.recipe import Recipe
from codistill.recipes.registry import find_recipe
from codistill.recipes.sizes import images_of_step, shape_of_step, size_of_step, view_plan
from codistill.teachers.teacher import TeacherConfig

SIZES = (56, 112, 168)


def recipe_of(*teachers: TeacherConfig, steps: int = 40, **fields: object) -> Recipe:
    recipe = find_recipe("debug")
    return replace(
        recipe,
        image_size=112,
        teachers=teachers,
        loader=replace(recipe.loader, batch_size=64),
        engine=replace(recipe.engine, total_steps=steps),
        **fields,
    )


def teacher(name: str, **fields: object) -> TeacherConfig:
    encoder = "random:vit_tiny,dim=32,num_heads=2,depth=1,patch_size=14"
    return TeacherConfig(name=name, encoder=encoder, kinds=("patch",), **fields)


def test_one_size_is_one_input_a_network_and_the_batch() -> None:
    drawn = draws_of(recipe_of(teacher("a"), teacher("b", image_size=70)), {"a": 16, "b": 14})
    assert drawn.images == 64
    assert drawn.student == {(112, 112): 1}
    assert drawn.teachers == {"a": {(128, 128): 1}, "b": {(70, 70): 1}}


def test_steps_of_large_draws_count_with_the_few_images_that_they_hold() -> None:
    recipe = recipe_of(teacher("a"), teacher("b", image_sizes=(56, 112)), image_sizes=SIZES)
    drawn = draws_of(recipe, {"a": 16, "b": 14})
    plan = view_plan(recipe)
    assert plan is not None
    held = [images_of_step(recipe, step, 1) for step in range(40)]
    assert len(set(held)) > 1 and drawn.images == sum(held) / 40
    for size in SIZES:
        alike = sum(n for step, n in enumerate(held) if size_of_step(recipe, step) == size)
        assert drawn.student[size, size] == pytest.approx(alike / sum(held))
        follows = size // 14 * 16
        assert drawn.teachers["a"][follows, follows] == pytest.approx(alike / sum(held))
    for size in (56, 112):
        alike = sum(n for step, n in enumerate(held) if plan.of_step(step).sizes["b"] == size)
        assert drawn.teachers["b"][size, size] == pytest.approx(alike / sum(held))


def test_the_operations_of_a_run_are_the_sums_of_its_steps() -> None:
    recipe = recipe_of(teacher("a"), image_sizes=SIZES)
    work = work_of(recipe)
    alone = {size: work_of(replace(recipe, image_sizes=(), image_size=size)).total for size in SIZES}
    by_hand = sum(images_of_step(recipe, step, 1) * alone[size_of_step(recipe, step)] for step in range(40))
    assert 40 * work.images * work.total == pytest.approx(by_hand)
    assert plan_run(recipe, work, 2, 1e12, 1e9).compute == pytest.approx(by_hand / 40 / 2 / 1e12)

    assert work.images * work.total != pytest.approx(
        64 * work_of(replace(recipe, image_sizes=())).total, rel=0.01
    )


def test_aspects_and_canvases() -> None:
    aspects = recipe_of(teacher("a"), aspects=(0.5, 1.0, 2.0))
    drawn = draws_of(aspects, {"a": 16})
    shapes = {shape_of_step(aspects, step, 112) for step in range(40)}
    assert set(drawn.student) == shapes and len(shapes) == 3
    assert set(drawn.teachers["a"]) == {(rows // 14 * 16, columns // 14 * 16) for rows, columns in shapes}
    assert work_of(aspects).encoder <= work_of(replace(aspects, aspects=())).encoder
    mosaic = recipe_of(teacher("a", image_size=336, mosaic=True), image_sizes=(56, 112))
    of = draws_of(mosaic, {"a": 14})
    small, large = of.student[56, 56], of.student[112, 112]
    assert of.teachers["a"] == {(336, 336): pytest.approx(small / 36 + large / 9)}


def test_long_runs_are_a_sample_near_the_expected_mean() -> None:
    recipe = recipe_of(teacher("a"), steps=10 * DRAWN, image_sizes=SIZES)
    expected = sum(64 * 112**2 // size**2 for size in SIZES) / 3
    assert draws_of(recipe, {"a": 16}).images == pytest.approx(expected, rel=0.05)
    short = torch.tensor([images_of_step(recipe, step, 1) for step in range(DRAWN)]).float().mean()
    assert draws_of(recipe, {"a": 16}).images == pytest.approx(float(short))

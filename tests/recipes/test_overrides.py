"""Fields of a recipe by dotted path: the same recipe as from the command line, and the same refusals."""

from typing import Any

import pytest

from codistill.commands.distill import resolve_recipe
from codistill.commands.parsers.distill import parse
from codistill.errors import ConfigError
from codistill.files.plain import flat
from codistill.recipes.overrides import with_fields
from codistill.recipes.registry import find_recipe


def test_fields_change_what_flags_change() -> None:
    words = "--engine.total-steps 7 --student.projector.kind mlp --teachers.1.weight 2 --distill.loss.weights cosine 1"
    by_flags = resolve_recipe(*parse(["debug", "--out", "x", *words.split()]))
    fields = {
        "engine.total_steps": 7,
        "student": {"projector": {"kind": "mlp"}},
        "teachers.1.weight": 2.0,
        "distill.loss.weights": {"cosine": 1.0},
    }
    assert with_fields(find_recipe("debug"), flat(fields)) == by_flags


def test_steps_follow_from_epochs_and_the_other_way_round() -> None:
    assert with_fields(find_recipe("debug"), {"epochs": 1e-4}).engine.total_steps == 12
    published = with_fields(find_recipe("dune-vitbase14-336"), {"engine.total_steps": 5})
    assert (published.total_steps, published.epochs) == (5, None)


def test_taking_back_what_a_recipe_has_is_no_option_without_effect() -> None:
    fields = {"world": None, "world_path": "", "sources": [{"name": "a", "path": "9", "kind": "generated"}]}
    changed = with_fields(find_recipe("world-debug"), {**fields, "engine.validate_every": 0})
    assert changed.world is None and [source.name for source in changed.training_sources] == ["a"]


def test_taking_back_what_was_taken_over_is_no_option_without_effect() -> None:
    recipe = find_recipe("dune-vitbase14-336")  # a network of another library has its own registers
    over = {"student.num_registers": 2}
    back = {"student.network": "timm:convnext_atto", "student.patch_size": 32, "image_size": 64}
    back |= {"student.num_registers": recipe.student.num_registers}
    assert with_fields(recipe, back, over).student.network == "timm:convnext_atto"
    for kept in ({}, dict(back)):
        with pytest.raises(ConfigError, match=r"student.num_registers = 4 would have no effect"):
            with_fields(recipe, back, kept)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"engine.total_stepz": 3}, "Did you mean 'engine.total_steps'"),
        ({"enginee.total_steps": 3}, "Did you mean 'engine'"),
        ({"teachers.7.weight": 1.0}, r"Unknown option 'teachers.7'.* Known: teachers.0"),
        ({"student.size.big": 1}, "student.size has no fields"),
        ({"engine.total_steps": "many"}, "a whole number"),
        ({"augment.blur": 0.0, "augment.blur_kernel": 5}, "augment.blur_kernel = 5 would have no effect"),
        ({"world_path": ""}, "world_path =  would have no effect"),
    ],
)
def test_mistakes_are_refused(fields: dict[str, Any], error: str) -> None:
    with pytest.raises(ConfigError, match=error):
        with_fields(find_recipe("debug"), fields)

"""The fields that are read from source are those of the classes, and a slip in one is told without importing them."""

from collections.abc import Iterator
from typing import Any, get_args

import pytest

from codistill.commands.parsers.task_text import read_task
from codistill.errors import ConfigError
from codistill.files.dataclass_fields import (
    attributes_of,
    check_flags,
    fields_of,
    keywords_of,
    names_in,
    path_of_flag,
)
from codistill.files.plain import field_hints
from codistill.recipes.recipe import Recipe
from codistill.tasks.registry import TASKS, find_task


def classes(hint: Any) -> list[type]:
    found = [inner for part in get_args(hint) for inner in classes(part)]
    return [hint] if hasattr(hint, "__dataclass_fields__") else found


def walk(cls: type, prefix: str = "") -> Iterator[str]:
    for name, hint in field_hints(cls).items():
        inner = classes(hint)
        yield from (path for one in inner for path in walk(one, f"{prefix}{name}."))
        if not inner:
            yield prefix + name


def test_fields_of_a_recipe_are_those_of_its_classes() -> None:
    assert set(fields_of("codistill.recipes.recipe:Recipe")) == set(walk(Recipe))


@pytest.mark.parametrize("name", TASKS)
def test_configs_and_options_of_every_task_are_read_as_they_are(name: str) -> None:
    """Types, defaults and order of bases: what `--help` and the check of a slip rely on."""
    task = find_task(name)
    for cls in filter(None, (task.config, task.test, task.predict and task.predict.options)):
        fields = fields_of(f"{cls.__module__}:{cls.__qualname__}")
        assert set(fields) == set(walk(cls)), cls
        assert all(field.about for field in fields.values()), [f.path for f in fields.values() if not f.about]
    words = keywords_of(TASKS[name])
    assert names_in(*words["layouts"]) == tuple(task.layouts)
    if task.config is not None:
        assert names_in(*words["recipes"]) == tuple(task.recipes)


def test_a_task_derived_from_another_one_is_read_with_what_it_takes_over() -> None:
    """`fit two-view --help` names the layouts and scoring options of relocalization, whose task it derives from."""
    derived, other = read_task("two-view"), read_task("relocalization")
    assert derived.layouts == other.layouts and derived.testing == other.testing
    assert (derived.heads, derived.baselines, derived.recipes) == (
        "",
        (),
        tuple(find_task("two-view").recipes),
    )


def test_defaults_of_a_nested_config_are_those_that_are_given() -> None:
    fields = fields_of("codistill.tasks.dense.depth.fit:DepthFit")
    assert fields["features.norm"].default == "False"  # a depth head takes tokens without the final norm
    assert fields["pixels"].default == "32" and "0.01" in fields["learning_rates"].default
    assert (
        fields_of("codistill.tasks.dense.segmentation.fit:SegmentationFit")["features.norm"].default == "True"
    )


def test_flags_of_fields_are_known_and_others_are_not() -> None:
    known = fields_of("codistill.recipes.recipe:Recipe")
    check_flags(
        ["--engine.total-steps=3", "--engine.no-compile", "--teachers.0.image-size", "--image_size"],
        known,
        "",
    )
    for flag, near in (("--engine.total-stepz", "--engine.total-steps"), ("--imagesize=3", "--image-size")):
        with pytest.raises(ConfigError, match=f"Did you mean .*{near}"):
            check_flags([flag], known, "")


@pytest.mark.parametrize(
    ("flag", "meant"),
    [
        ("--optim.lr", ""),  # of another command: its dashes and letters are no likeness
        ("--zzz", ""),
        ("--optim.stepz", " Did you mean --steps?"),
        ("--learning-rate", " Did you mean --learning-rates?"),
        ("--crop", " Did you mean --test.crop?"),
    ],
)
def test_only_what_is_near_is_suggested(flag: str, meant: str) -> None:
    known = [
        "--partial",
        "--pixels",
        "--norm",
        "--out",
        "--size",
        "--steps",
        "--learning-rates",
        "--test.crop",
    ]
    with pytest.raises(ConfigError) as caught:
        check_flags([flag], {}, "All: there.", known)
    assert str(caught.value) == f"Unknown option {flag}.{meant} All: there."


def test_paths_of_flags() -> None:
    assert path_of_flag("--engine.total-steps=3") == "engine.total_steps"
    assert path_of_flag("--no-norm") == "norm" and path_of_flag("--features.no-norm") == "features.norm"


def test_descriptions_go_over_several_lines_and_names() -> None:
    text = "What.\n\nAttributes:\n    one, two: first line\n        and second.\n    three: alone.\n\nRaises:\n    X"
    assert attributes_of(text) == {
        "one": "first line and second.",
        "two": "first line and second.",
        "three": "alone.",
    }


def test_a_flag_of_the_command_itself_may_have_been_meant() -> None:
    known = fields_of("codistill.recipes.recipe:Recipe")
    with pytest.raises(ConfigError, match="Did you mean --head"):
        check_flags(["--heads"], known, "", ["--head", "--out"])

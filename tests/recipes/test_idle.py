"""No option is accepted and ignored: what would do nothing or disagrees is refused, and names must be there."""

import argparse
import dataclasses
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codistill.commands.distill import resolve_recipe
from codistill.errors import ConfigError
from codistill.files.config import dump_yaml
from codistill.recipes.idle import check_recipe, idle_options
from codistill.recipes.recipe import Recipe
from codistill.recipes.registry import RECIPES, find_recipe


def changed(config: Any, path: str, value: Any) -> Any:
    """A config with the field at a dotted path replaced."""
    name, _, rest = path.partition(".")
    return replace(config, **{name: changed(getattr(config, name), rest, value) if rest else value})


def field_at(config: Any, path: str) -> dataclasses.Field:
    *sections, name = path.split(".")
    for section in sections:
        config = getattr(config, section)
    return {field.name: field for field in dataclasses.fields(config)}[name]


OTHER = {
    "loader.image_size": 28,
    "loader.start_method": "spawn",
    "augment.blur_sigma": (0.5, 1.0),
    "augment.reduced_decoding": False,
    "student.class_tokens": "per_teacher",
    "student.projector.blocks": (1,),
    "student.projector.hidden": 32,
    "student.projector.last_hidden": 32,
    "student.projector.num_heads": 4,
    "student.projector.num_blocks": 3,
    "distill.alignment": "larger",
    "distill.shift.draw": "normal",
    "distill.sharing.generic_domain": "3d",
    "distill.sharing.skip_untaught": False,
    "distill.loss.summary": {"cosine": 1.0},
    "optim.decay": "all",
    "world_path": "worlds/x",
    "engine.validate_every": 3,
}
SWITCHES = (
    {},
    {"validation": ()},
    {"augment.jitter": 0.0},
    {"augment.brightness": 0.0, "augment.contrast": 0.0, "augment.saturation": 0.0, "augment.hue": 0.0},
    {"augment.blur": 0.0},
    {"augment.blur_kernel": 1},
    {"augment.solarize": 0.0},
    {"augment.implementation": "reference"},
    {"student.init": "runs/first"},
    {"student.freeze_encoder": True},
    {"student.projector.kind": "mlp"},
    {"student.projector.kind": "ln_mlp"},
    {"student.projector.kind": "radio_attention"},
    {"student.projector.kind": "ladder", "student.projector.blocks": (0,)},
    {"student.projector.kind": "ladder", "student.projector.blocks": (1,)},
    {"distill.sharing.mode": "none"},
    {"distill.sharing.mode": "generic", "distill.sharing.shared_sources": ("generated-3d",)},
    {"distill.dropping.mode": "none"},
    {"distill.targets.statistics": "fixed"},
    {"optim.clip": "none"},
    {"optim.weight_decay": 0.0},
    {"optim.schedule": "ramped_cosine", "optim.warmup_fraction": 0.0},
)


def another(path: str, default: Any) -> Any:
    if path in OTHER:
        return OTHER[path]
    return default + 2 if isinstance(default, int) else (default or 0.2) / 2


@pytest.mark.parametrize("switch", SWITCHES, ids=lambda s: "+".join(s) or "debug")
def test_every_option_that_does_nothing_is_refused(switch: dict[str, Any]) -> None:
    recipe = replace(find_recipe("debug"), engine=replace(find_recipe("debug").engine, validate_every=0))
    for path, value in switch.items():
        parent = path.rpartition(".")[0]
        together = {
            p.rpartition(".")[2]: v for p, v in switch.items() if p.rpartition(".")[0] == parent and parent
        }
        if together:
            section = recipe
            for name in parent.split("."):
                section = getattr(section, name)
            recipe = changed(recipe, parent, replace(section, **together))
        else:
            recipe = changed(recipe, path, value)
    check_recipe(recipe)
    idle = [path for path, _ in idle_options(recipe) if path not in switch]
    assert idle
    for path in idle:
        default = field_at(recipe, path).default
        with pytest.raises(ConfigError, match=f"{path} = .* would have no effect"):
            check_recipe(changed(recipe, path, another(path, default)))
        with pytest.raises(ConfigError, match=f"{path} = .* would have no effect"):
            check_recipe(recipe, typed={path})


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_that_ships_says_nothing_in_vain(name: str) -> None:
    recipe = RECIPES[name]
    check_recipe(recipe)
    assert recipe.engine.total_steps == recipe.total_steps
    with pytest.raises(ConfigError, match=r"loader\.image_size = 28 would have no effect"):
        check_recipe(changed(recipe, "loader.image_size", 28))
    if recipe.epochs is not None:
        with pytest.raises(ConfigError, match="Keep one: epochs = null"):
            check_recipe(changed(recipe, "engine.total_steps", 50_000))


def resolved(name: str, *overrides: str, **arguments: Any) -> Recipe:
    given = {
        "recipe": name,
        "teacher": None,
        "source": None,
        "held_out": None,
        "help_fields": False,
    } | arguments
    return resolve_recipe(argparse.Namespace(**given), list(overrides))


def test_mappings_on_the_command_line() -> None:
    loss = resolved("debug", "--distill.loss.weights", "cosine", "1", "mine.py:L4", "2.5").distill.loss
    assert (loss.weights, loss.summary) == ({"cosine": 1.0, "mine.py:L4": 2.5}, None)
    loss = resolved("debug", "--distill.loss.summary", "angular", "1").distill.loss
    assert (dict(loss.weights), loss.summary) == ({"cosine": 0.5, "smooth_l1": 0.5}, {"angular": 1.0})


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (("--distill.loss.weights", "cosine", "1", "cosine", "2"), "cosine is given twice"),
        (("--distill.loss.weights", "cosine"), "cosine has no number"),
        (("--distill.loss.summary", "cosine", "1", "smooth_l1"), "smooth_l1 has no number"),
        (("--distill.loss.weights", "cosin", "1"), "Did you mean"),
    ],
)
def test_mappings_that_say_nothing(overrides: tuple[str, ...], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        resolved("debug", *overrides)


def test_patch_terms_do_nothing_for_class_tokens_alone() -> None:
    debug = changed(find_recipe("debug"), "distill.loss.summary", {"cosine": 1.0})
    recipe = replace(debug, teachers=(replace(debug.teachers[0], kinds=("cls",)),), distill=debug.distill)
    recipe = changed(recipe, "distill.dropping.mode", "none")
    check_recipe(recipe)
    with pytest.raises(
        ConfigError, match=r"distill\.loss\.weights = .* would have no effect: teachers give class"
    ):
        check_recipe(changed(recipe, "distill.loss.weights", {"cosine": 1.0}))


def test_the_length_on_the_command_line_counts() -> None:
    published = "dune-vitsmall14-336"
    steps = resolved(published, "--engine.total-steps", "50000")
    assert (steps.total_steps, steps.engine.total_steps, steps.epochs) == (50_000, 50_000, None)
    assert resolved(published, "--engine.total_steps=7").total_steps == 7
    assert resolved(published, "--epochs", "3").engine.total_steps == 3754  # 3 · 1 281 167 / 1024 = 3753.4
    assert resolved(published, "--loader.batch-size", "512").engine.total_steps == 250_228
    assert resolved("debug", "--epochs", "0.001").engine.total_steps == 108
    with pytest.raises(ConfigError, match="Keep one"):
        resolved(published, "--epochs", "3", "--engine.total-steps", "50")


def test_a_saved_recipe_need_not_say_its_length_twice(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nepochs: 2\nengine: {log_every: 5}\nloader: {batch_size: 100}\n")
    assert find_recipe(str(path)).engine.total_steps == find_recipe(str(path)).total_steps == 25_624
    path.write_text("name: mine\nepochs: 2\n")
    assert find_recipe(str(path)).engine.total_steps == find_recipe(str(path)).total_steps
    text = dump_yaml(RECIPES["dune-vitbase14-336"]).replace("total_steps: 125114", "total_steps: 50000")
    path.write_text(text)
    with pytest.raises(ConfigError, match="epochs = 100 makes 125114 steps"):
        resolved(str(path))


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        ("distill.sharing", {"mode": "generic", "shared_sources": ("in19K-typo",)}, "Unknown source"),
        ("distill.sharing", {"mode": "generic", "shared_sources": ()}, "shares nothing"),
        ("distill.sharing", {"mode": "generic", "generic_domain": "genric"}, "the domain of no source"),
        ("mix", {"mode": "weighted", "weights": (("generc", 1.0),)}, "Did you mean 'generic'"),
        ("engine", {"keep_every": 4}, "must be a multiple of engine.checkpoint_every 6"),
        ("engine", {"stop_after": 25}, "no step of this run, which has 24"),
    ],
)
def test_names_and_steps_that_are_not_there_are_refused(path: str, value: dict[str, Any], text: str) -> None:
    recipe = find_recipe("debug")
    section: Any = recipe
    for name in path.split("."):
        section = getattr(section, name)
    with pytest.raises(ConfigError, match=text):
        check_recipe(changed(recipe, path, replace(section, **value)))


def test_options_of_sources_that_do_nothing_are_refused() -> None:
    recipe = find_recipe("debug")
    for change in ({"root": "/x"}, {"include": ("*.png",)}, {"rotation": "closeup"}, {"expected": 3}):
        (name,) = change
        with pytest.raises(ConfigError, match=f"{name} would have no effect on a source of kind generated"):
            check_recipe(replace(recipe, sources=(replace(recipe.sources[0], **change), *recipe.sources[1:])))


def test_held_out_images_and_their_interval_belong_together() -> None:
    own = {"source": ["a,generic,/a"]}
    assert resolved("debug", **own).engine.validate_every == 0
    with pytest.raises(ConfigError, match="no images are held out"):
        resolved("debug", "--engine.validate-every", "3", **own)
    with pytest.raises(ConfigError, match="--held-out would have no effect"):
        resolved("bench", held_out=["b,generic,/b"])
    assert resolved("debug", **own, held_out=["b,generic,/b"]).engine.validate_every == 12


def test_dropping_needs_an_image_with_two_teachers() -> None:
    recipe = changed(find_recipe("debug"), "distill.sharing.mode", "none")
    check_recipe(recipe)
    with pytest.raises(ConfigError, match="no image has more than one teacher"):
        check_recipe(changed(recipe, "distill.dropping.probability", 0.3))


def test_a_frozen_encoder_has_nothing_to_agree_on_with_its_average() -> None:
    student = replace(find_recipe("debug").student, freeze_encoder=True, ema=0.9)
    recipe = replace(find_recipe("debug"), student=student)
    with pytest.raises(ConfigError, match=r"distill\.mesa\.weight = 1\.0 would have no effect: .*freeze_enc"):
        check_recipe(changed(recipe, "distill.mesa.weight", 1.0))

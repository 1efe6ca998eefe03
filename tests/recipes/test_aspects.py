"""Images that are no squares: shapes of equal tokens, drawn by step, the same on every rank."""

from dataclasses import replace

import numpy as np
import pytest

from codistill.data.augment import AugmentConfig
from codistill.data.augment.draw import draw_params, for_aspect
from codistill.errors import ConfigError
from codistill.recipes.build import DataPart, build_objective, training_batches
from codistill.recipes.idle import check_recipe
from codistill.recipes.recipe import Recipe
from codistill.recipes.registry import find_recipe
from codistill.recipes.sizes import bucket, size_of_crops
from codistill.teachers.views import ShiftConfig

ASPECTS = (0.5, 1.0, 1.5)


def recipe(**changes: object) -> Recipe:
    return replace(find_recipe("debug"), image_size=84, aspects=ASPECTS, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [56, 224, 448])
@pytest.mark.parametrize("aspect", [0.125, 0.5, 0.75, 1.0, 4 / 3, 2.0, 8.0])
def test_buckets_have_the_tokens_of_a_square_or_slightly_fewer(size: int, aspect: float) -> None:
    rows, columns = (side // 14 for side in bucket(aspect, size, 14))
    most = (size // 14) ** 2
    assert 0 < rows * columns <= most
    if size > 56:
        assert rows * columns > 0.85 * most
        assert abs(np.log(columns / rows / aspect)) < 0.25
    exact = np.sqrt(most / aspect), np.sqrt(most * aspect)
    assert abs(rows - exact[0]) < 1 or min(rows, columns) == 1
    assert bucket(1.0, size, 14) == (size, size)


def test_shapes_are_drawn_evenly_by_seed_and_step() -> None:
    shapes = [size_of_crops(recipe(), step) for step in range(300)]
    assert shapes == [size_of_crops(recipe(), step) for step in range(300)]
    wanted = [bucket(aspect, 84, 14) for aspect in ASPECTS]
    assert all(abs(shapes.count(shape) - 100) < 25 for shape in wanted)
    assert shapes != [
        size_of_crops(recipe(engine=replace(recipe().engine, seed=1)), step) for step in range(300)
    ]


def test_crops_keep_their_shape_on_average() -> None:
    config = AugmentConfig(scale=(0.1, 0.3))  # such crops fit into the image below
    assert for_aspect(config, 84) is config and for_aspect(config, (84, 84)) is config
    wide = for_aspect(config, (56, 112))
    assert wide.ratio == pytest.approx((1.5, 8 / 3))
    drawn = [draw_params(wide, np.random.default_rng(seed), 1000, 3000) for seed in range(200)]
    ratios = np.log([one.width / one.height for one in drawn])
    assert np.exp(ratios.mean()) == pytest.approx(2.0, rel=0.05)


def test_batches_of_two_ranks_are_one_batch_and_resume_anywhere() -> None:
    one = recipe(engine=replace(recipe().engine, total_steps=4))
    whole = list(training_batches(one, DataPart())(0))
    parts = [list(training_batches(one, DataPart(rank=rank, world_size=2))(0)) for rank in (0, 1)]
    assert [tuple(batch.images.shape[-2:]) for batch in whole] == [
        size_of_crops(one, step) for step in range(4)
    ]
    assert len({tuple(batch.images.shape[-2:]) for batch in whole}) > 1
    for step, batch in enumerate(whole):
        for rank in (0, 1):
            assert (parts[rank][step].images == batch.images[rank::2]).all()
    late = next(iter(training_batches(one, DataPart())(3)))
    assert (late.images == whole[3].images).all()


def test_a_step_trains_on_them() -> None:
    one = recipe(engine=replace(recipe().engine, total_steps=2))
    objective, _ = build_objective(one)
    from codistill.engine.objective import StepContext

    for step, batch in enumerate(training_batches(one, DataPart())(0)):
        context = StepContext(step=step, total_steps=2, seed=0)
        result = objective.step(objective.trainable, batch, context)
        assert result.loss.isfinite()


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"teachers": True}, r"image sizes of teachers \(generic\) cannot take"),
        ({"shift": True}, "distill.shift cannot take"),
    ],
)
def test_what_needs_squares_is_refused(change: dict[str, bool], error: str) -> None:
    one = recipe()
    if "teachers" in change:
        one = replace(one, teachers=(replace(one.teachers[0], image_size=56), *one.teachers[1:]))
    if "shift" in change:
        one = replace(one, distill=replace(one.distill, shift=ShiftConfig(most=1)))
    with pytest.raises(ConfigError, match=error):
        check_recipe(one)
    with pytest.raises(ConfigError, match="aspects, widths over heights, must be"):
        replace(find_recipe("debug"), aspects=(9.0,))

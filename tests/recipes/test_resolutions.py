"""Multi-resolution training: a size for each step, about as many tokens in each, the same on every rank."""

from dataclasses import replace

import numpy as np
import pytest

from codistill.data.mixing import MixConfig, SourceSize
from codistill.data.sampler import MixingSampler
from codistill.errors import ConfigError
from codistill.recipes.build import DataPart, training_batches
from codistill.recipes.recipe import Recipe
from codistill.recipes.registry import find_recipe
from codistill.recipes.sizes import crop_of_step, images_of_size, images_of_step, size_of_step
from codistill.teachers.views import draw_size

SIZES = (42, 56, 84)


def recipe(**changes: object) -> Recipe:
    return replace(find_recipe("debug"), image_sizes=SIZES, **changes)  # type: ignore[arg-type]


def test_sizes_are_drawn_evenly_from_seed_and_step() -> None:
    sizes = [size_of_step(recipe(), step) for step in range(600)]
    assert sizes == [size_of_step(recipe(), step) for step in range(600)]
    assert all(abs(sizes.count(size) - 200) < 40 for size in SIZES)  # three standard deviations are 35
    other = recipe(engine=replace(recipe().engine, seed=1))
    assert sizes != [size_of_step(other, step) for step in range(600)]
    assert size_of_step(find_recipe("debug"), 5) == 56


def test_tokens_stay_about_constant() -> None:
    big = replace(recipe(), loader=replace(recipe().loader, batch_size=1024))
    tokens = {size: images_of_size(big, size, 8) * (size // 14) ** 2 for size in SIZES}
    assert all(15 / 16 <= count / (1024 * 16) <= 1.0 for count in tokens.values()), tokens
    assert len({images_of_size(big, 84, parts) for parts in (1, 2, 4, 8, 16)}) == 1
    assert images_of_size(big, 56, 8) == 1024
    assert images_of_size(recipe(), 84, 4) == 4  # 5.3 images, in two ranks of two micro-steps
    assert images_of_size(recipe(), 84, 8) == 8  # at least one for each


def test_batches_of_two_ranks_are_one_batch_and_resume_anywhere() -> None:
    one = recipe(engine=replace(recipe().engine, total_steps=5))
    whole = list(training_batches(one, DataPart())(0))
    parts = [list(training_batches(one, DataPart(rank=rank, world_size=2))(0)) for rank in (0, 1)]
    assert [batch.images.shape[-1] for batch in whole] == [size_of_step(one, step) for step in range(5)]
    assert len({batch.images.shape[-1] for batch in whole}) > 1
    for step, batch in enumerate(whole):
        size = batch.images.shape[-1]
        assert len(batch) == images_of_size(one, size, 1)
        for rank in (0, 1) if len(batch) % 2 == 0 else ():
            mine = parts[rank][step]
            assert mine.names == batch.names[rank::2]
            assert (mine.images == batch.images[rank::2]).all()
        counts = [batch.domains.count(domain) for domain in ("generic", "3d", "human")]
        assert max(counts) - min(counts) <= 1
    late = next(iter(training_batches(one, DataPart())(3)))
    assert late.names == whole[3].names


def test_a_step_has_as_many_images_as_its_largest_draw_allows() -> None:
    def with_sizes(*sizes: int) -> Recipe:
        one = recipe()
        return replace(one, teachers=(replace(one.teachers[0], image_sizes=sizes), *one.teachers[1:]))

    drawing, fixed = with_sizes(28, 112), with_sizes(112)
    for step in range(20):
        student = size_of_step(recipe(), step)
        teacher = draw_size(0, step, (28, 112), teacher=drawing.teachers[0].name)
        assert images_of_step(drawing, step, 1) == images_of_size(recipe(), max(student, teacher), 1)
        assert images_of_step(fixed, step, 1) == images_of_size(recipe(), student, 1)
        assert crop_of_step(drawing, step) == max(student, teacher)
        assert crop_of_step(fixed, step) == 112
    batch = next(iter(training_batches(fixed, DataPart())(4)))
    assert batch.images.shape[-1] == 112 and len(batch) == images_of_step(fixed, 4, 1)


def test_no_step_repeats_images_or_leaves_a_domain_out() -> None:
    def batches(size: int, accumulate: int = 1) -> None:
        engine, loader = recipe().engine, recipe().loader
        one = recipe(engine=replace(engine, accumulate=accumulate), loader=replace(loader, batch_size=size))
        training_batches(one, DataPart())

    batches(9)
    with pytest.raises(ConfigError, match=r"steps of 84 px would have 2 .* none of the domain\(s\) human"):
        batches(6)  # room for 2.7 images of 84 px: people would never be seen at that size
    with pytest.raises(ConfigError, match="8 has fewer images than a step has parts, 12"):
        batches(8, accumulate=12)


def test_the_largest_batch_fills_every_slot() -> None:
    one = recipe(engine=replace(recipe().engine, total_steps=9))
    sampler = MixingSampler([SourceSize("a", "x", 90), SourceSize("b", "y", 50)], MixConfig(), 12, seed=0)
    full = sampler.slots(4)
    np.testing.assert_array_equal(sampler.slots(4, images=12).item, full.item)
    half = sampler.slots(4, images=6)
    np.testing.assert_array_equal(half.slot, [0, 2, 4, 6, 8, 10])
    np.testing.assert_array_equal(half.item, full.item[::2])
    np.testing.assert_array_equal(np.bincount(half.source), [3, 3])
    smallest = next(batch for batch in training_batches(one, DataPart())(0) if batch.images.shape[-1] == 42)
    assert len(smallest) == 21  # 12 · 56² / 42² = 21.3


def test_sizes_must_be_multiples_of_the_patch() -> None:
    with pytest.raises(ConfigError, match=r"image size 50 is not a multiple.*nearest: 56"):
        replace(find_recipe("debug"), image_sizes=(42, 50))

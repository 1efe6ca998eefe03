"""Sizes in a recipe's steps: of the loaded crops and of student's and teachers' inputs; the number of images."""

import math

from codistill.data.augment.draw import Size
from codistill.data.mixing import SourceSize
from codistill.data.randomness import ASPECT, generator
from codistill.data.sampler import MixingSampler
from codistill.errors import ConfigError
from codistill.recipes.recipe import Recipe
from codistill.teachers.views import ViewPlan, draw_size


def size_of_step(recipe: Recipe, step: int) -> int:
    """Side of the student's images in a step, drawn from `image_sizes` by (seed, step); the same on every rank."""
    return draw_size(recipe.engine.seed, step, recipe.image_sizes or (recipe.image_size,))


def view_plan(recipe: Recipe) -> ViewPlan | None:
    """Plan what the student and each teacher see in every step; None if all see the student's image.

    Raises:
        ConfigError: if a shift leaves a teacher and the student nothing in common.
    """
    distill = recipe.distill
    if recipe.aspects:
        return None
    own = distill.alignment == "larger" or any(teacher.image_sizes for teacher in recipe.teachers)
    if not own and not distill.shift.most:
        return None
    return ViewPlan(
        seed=recipe.engine.seed,
        patch_size=recipe.student.patch_size,
        student=recipe.image_sizes or (recipe.image_size,),
        teachers={t.name: () if t.mosaic else t.own_sizes for t in recipe.teachers},
        shift=distill.shift,
        own_grids=distill.alignment == "larger",
    )


def crop_of_step(recipe: Recipe, step: int) -> int:
    """Side of a step's square crops, from which the views of student and teachers are made.

    With `aspects`: side of the square that has as many tokens.
    """
    plan = view_plan(recipe)
    return size_of_step(recipe, step) if plan is None else plan.of_step(step).canvas


def size_of_crops(recipe: Recipe, step: int) -> Size:
    """Size of a step's crops: `crop_of_step`, or rows and columns if aspects are drawn."""
    size = crop_of_step(recipe, step)
    return shape_of_step(recipe, step, size) if recipe.aspects else size


def shape_of_step(recipe: Recipe, step: int, size: int) -> tuple[int, int]:
    """Rows and columns in pixels of a step's images, for an aspect drawn by (seed, step); the same on every rank."""
    draws = generator(recipe.engine.seed, ASPECT, step)
    aspect = recipe.aspects[int(draws.integers(len(recipe.aspects)))]
    return bucket(aspect, size, recipe.student.patch_size)


def bucket(aspect: float, size: int, patch: int) -> tuple[int, int]:
    """Find rows and columns of an aspect, in pixels, with at most the tokens of a square of the given size.

    Both are multiples of the patch size. Of the shapes within one token of the exact shape, the one with the most
    tokens is taken; among equals, the one with the nearest aspect.
    """
    most = (size // patch) ** 2
    exact = (math.sqrt(most / aspect), math.sqrt(most * aspect))  # rows, columns
    near = [
        (rows, columns)
        for rows in (math.floor(exact[0]), math.ceil(exact[0]))
        for columns in (math.floor(exact[1]), math.ceil(exact[1]))
        if rows > 0 and columns > 0 and rows * columns <= most
    ]
    if not near:  # one row or column
        near = [(1, most)] if aspect > 1 else [(most, 1)]
    best = max(near, key=lambda shape: (shape[0] * shape[1], -abs(math.log(shape[1] / shape[0] / aspect))))
    return best[0] * patch, best[1] * patch


def images_of_step(recipe: Recipe, step: int, parts: int) -> int:
    """Number of images in a step's global batch: `images_of_size` of the largest side drawn for any network."""
    seed = recipe.engine.seed
    drawn = [
        draw_size(seed, step, t.image_sizes, teacher=t.name)
        for t in recipe.teachers
        if len(t.image_sizes) > 1
    ]
    return images_of_size(recipe, max(size_of_step(recipe, step), *drawn, 0), parts)


def images_of_size(recipe: Recipe, size: int, parts: int) -> int:
    """Number of images of a size in a global batch, with about as many tokens as the recipe's batch.

    The recipe's batch has `loader.batch_size` images of `image_size`. The number is a multiple of `parts` (ranks times
    micro-steps). It is first rounded down, by less than a sixteenth, to a multiple of a power of two, so that it seldom
    depends on `parts`.
    """
    count = recipe.loader.batch_size * recipe.image_size**2 // size**2
    unit = 1 << max(0, (count // 16).bit_length() - 1)
    return max(1, count // unit * unit // parts) * parts


def check_images(recipe: Recipe, slots: int, parts: int) -> None:
    """Refuse drawn sizes at which steps would repeat images, or leave a domain of a balanced batch out.

    Args:
        recipe: with `image_sizes`.
        slots: of a step, see `MixingSampler`.
        parts: ranks times micro-steps.

    Raises:
        ConfigError: says what to change.
    """
    batch = recipe.loader.batch_size
    if batch < parts:
        raise ConfigError(
            f"loader.batch_size {batch} has fewer images than a step has parts, {parts} (ranks times "
            "engine.accumulate). Raise it, or lower engine.accumulate"
        )
    if recipe.mix.mode != "balanced":
        return
    sources = [SourceSize(source.name, source.domain, 1) for source in recipe.training_sources]
    sampler = MixingSampler(sources, recipe.mix, slots, recipe.engine.seed)
    drawn = {size for t in recipe.teachers if len(t.image_sizes) > 1 for size in t.image_sizes}
    for size in sorted({*recipe.image_sizes, *drawn}):
        count = images_of_size(recipe, size, parts)
        held = {sources[index].domain for index in sampler.slots(0, images=count).source}
        if without := sorted({source.domain for source in sources} - held):
            raise ConfigError(
                f"steps of {size} px would have {count} image(s), and none of the domain(s) {', '.join(without)}. "
                f"Raise loader.batch_size (now {batch} images of {recipe.image_size} px), or leave out that size"
            )


def check_aspects(recipe: Recipe) -> None:
    """Refuse aspects together with shifted views or teachers' own image sizes, which are squares.

    Raises:
        ConfigError: says what to change.
    """
    if not recipe.aspects:
        return
    own = [teacher.name for teacher in recipe.teachers if teacher.own_sizes]
    other = [f"image sizes of teachers ({', '.join(own)})"] if own else []
    other += ["distill.shift"] if recipe.distill.shift.most else []
    if other:
        raise ConfigError(
            f"aspects = {recipe.aspects} makes images that are no squares, which {' and '.join(other)} cannot take. "
            "Leave one of them out."
        )

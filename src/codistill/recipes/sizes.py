"""Sizes of a recipe's steps: what is loaded, what student and teachers see, and how many images a step has."""

from codistill.recipes.recipe import Recipe
from codistill.teachers.views import ViewPlan, draw_size


def size_of_step(recipe: Recipe, step: int) -> int:
    """Side of the student's images in a step: drawn from `image_sizes` by (seed, step), the same on every rank."""
    return draw_size(recipe.engine.seed, step, recipe.image_sizes or (recipe.image_size,))


def view_plan(recipe: Recipe) -> ViewPlan | None:
    """What the student and each teacher see in every step; None where that is the same, the student's image.

    Raises:
        ConfigError: if shifts leave nothing in common.
    """
    distill = recipe.distill
    own = distill.alignment == "larger" or any(teacher.image_sizes for teacher in recipe.teachers)
    if not own and not distill.shift.most:
        return None
    return ViewPlan(
        seed=recipe.engine.seed,
        patch_size=recipe.student.patch_size,
        student=recipe.image_sizes or (recipe.image_size,),
        teachers={teacher.name: teacher.own_sizes for teacher in recipe.teachers},
        shift=distill.shift,
        own_grids=distill.alignment == "larger",
    )


def crop_of_step(recipe: Recipe, step: int) -> int:
    """Side of a step's crops, of which student and teachers get their views."""
    plan = view_plan(recipe)
    return size_of_step(recipe, step) if plan is None else plan.of_step(step).canvas


def images_of_step(recipe: Recipe, step: int, parts: int) -> int:
    """Images in a step's global batch: `images_of_size` of the largest side that was drawn for any network."""
    seed = recipe.engine.seed
    drawn = [
        draw_size(seed, step, t.image_sizes, teacher=t.name)
        for t in recipe.teachers
        if len(t.image_sizes) > 1
    ]
    return images_of_size(recipe, max(size_of_step(recipe, step), *drawn, 0), parts)


def images_of_size(recipe: Recipe, size: int, parts: int) -> int:
    """Images in a global batch of a size, with about the tokens of `loader.batch_size` images of `image_size`.

    A multiple of `parts` (ranks times micro-steps), rounded down by less than a sixteenth to a multiple of a power of
    two, so that it seldom depends on `parts`.
    """
    count = recipe.loader.batch_size * recipe.image_size**2 // size**2
    unit = 1 << max(0, (count // 16).bit_length() - 1)
    return max(1, count // unit * unit // parts) * parts

"""Inputs of a recipe's networks over the random draws of a run: their sizes, and the number of images."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from codistill.recipes.recipe import Recipe
from codistill.recipes.sizes import images_of_step, shape_of_step, size_of_step
from codistill.teachers.views import draw_size

DRAWN = 2048
"""Largest number of steps whose drawn sizes are counted: their mean is within a percent of the expected one."""


@dataclass(frozen=True)
class Draws:
    """Inputs of a recipe's networks: sizes (rows, columns) in pixels, each with its number per training image.

    Attributes:
        images: of a step, on average.
        student, teachers: number of inputs by size. The numbers of a network sum to one, or to less if images share a
            canvas.
    """

    images: float
    student: Mapping[tuple[int, int], float]
    teachers: Mapping[str, Mapping[tuple[int, int], float]]


def draws_of(recipe: Recipe, patches: Mapping[str, int]) -> Draws:
    """Count the inputs of a recipe's networks over its first steps.

    At most `DRAWN` steps are counted: all of a short run, a sample of a long one.

    Args:
        recipe: of the run.
        patches: patch size of each teacher.
    """
    random = recipe.aspects or any(len(t.image_sizes) > 1 for t in recipe.teachers) or recipe.image_sizes
    steps = min(recipe.total_steps, DRAWN) if random else 1
    seed, patch, images = recipe.engine.seed, recipe.student.patch_size, 0
    student: Counter[tuple[int, int]] = Counter()
    teachers: dict[str, dict[tuple[int, int], float]] = {teacher.name: {} for teacher in recipe.teachers}
    for step in range(steps):
        count = images_of_step(recipe, step, parts=1) if recipe.image_sizes else recipe.loader.batch_size
        side = size_of_step(recipe, step)
        rows, columns = shape_of_step(recipe, step, side) if recipe.aspects else (side, side)
        student[rows, columns] += count
        images += count
        for teacher in recipe.teachers:
            own, number, of = teacher.own_sizes, float(count), teachers[teacher.name]
            if own:
                drawn = draw_size(seed, step, own, teacher=teacher.name)
                size = (drawn, drawn)
            else:
                size = (rows // patch * patches[teacher.name], columns // patch * patches[teacher.name])
            if teacher.mosaic:  # n² images share a canvas
                number /= max(1, size[0] // patches[teacher.name] // (rows // patch)) ** 2
            of[size] = of.get(size, 0.0) + number
    return Draws(
        images=images / steps,
        student={size: count / images for size, count in student.items()},
        teachers={
            name: {size: number / images for size, number in of.items()} for name, of in teachers.items()
        },
    )

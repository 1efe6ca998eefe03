"""The world's categories of things by name: how each is built, and on which stages it occurs.

To add a category, write a function (random generator, novel) → parts, in metres, standing on z = 0 with the front
towards -y, and add a line to `CATEGORIES`. Its number in the label maps follows from its position in this table.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from codistill.world.categories import buildings, furniture, items, nature, seating, tableware, vehicles, yard
from codistill.world.categories.parts import Part

Build = Callable[[np.random.Generator, bool], Iterable[Part]]


@dataclass(frozen=True)
class Category:
    """A category of things.

    Attributes:
        build: function from (random generator, novel) to parts; `novel` requests a style that training never shows.
        stages: stages on which it occurs at its natural size: on a `table`, on a `floor`, in a `yard`, in the `street`.
    """

    build: Build
    stages: tuple[str, ...]


CATEGORIES: dict[str, Category] = {
    "chair": Category(seating.chair, ("floor", "yard")),
    "table": Category(furniture.table, ("floor", "yard")),
    "stool": Category(seating.stool, ("floor",)),
    "bench": Category(seating.bench, ("floor", "yard")),
    "sofa": Category(seating.sofa, ("floor",)),
    "bed": Category(seating.bed, ("floor",)),
    "shelf": Category(furniture.shelf, ("floor",)),
    "lamp": Category(furniture.lamp, ("table", "floor")),
    "ladder": Category(furniture.ladder, ("floor", "yard")),
    "clock": Category(furniture.clock, ("table",)),
    "mug": Category(tableware.mug, ("table",)),
    "bottle": Category(tableware.bottle, ("table",)),
    "bowl": Category(tableware.bowl, ("table",)),
    "teapot": Category(tableware.teapot, ("table",)),
    "goblet": Category(tableware.goblet, ("table",)),
    "vase": Category(tableware.vase, ("table",)),
    "bucket": Category(tableware.bucket, ("floor", "yard")),
    "book": Category(items.book, ("table",)),
    "box": Category(items.carton, ("table", "floor")),
    "ball": Category(items.ball, ("table", "floor", "yard")),
    "laptop": Category(items.laptop, ("table",)),
    "umbrella": Category(yard.umbrella, ("floor", "yard")),
    "barrel": Category(yard.barrel, ("floor", "yard")),
    "cone": Category(yard.cone, ("floor", "yard")),
    "tree": Category(nature.tree, ("street",)),
    "plant": Category(nature.plant, ("table", "floor", "yard")),
    "cactus": Category(nature.cactus, ("table", "floor")),
    "mushroom": Category(nature.mushroom, ("table", "yard")),
    "pumpkin": Category(nature.pumpkin, ("table", "floor", "yard")),
    "snowman": Category(nature.snowman, ("yard",)),
    "car": Category(vehicles.car, ("street",)),
    "boat": Category(vehicles.boat, ("street",)),
    "airplane": Category(vehicles.airplane, ("street",)),
    "house": Category(buildings.house, ("street",)),
    "windmill": Category(buildings.windmill, ("street",)),
}

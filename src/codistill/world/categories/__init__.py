"""The things of the world by name: how each is built, and where it is found.

To add one: write a function (random generator, novel) → parts in metres, standing on z = 0 with its front towards
-y, and give it a line in `CATEGORIES`. Its number in the label maps follows from its place in this table.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from codistill.world.categories import furniture, items, nature, outdoor, seating, tableware
from codistill.world.categories.parts import Part

Build = Callable[[np.random.Generator, bool], list[Part]]


@dataclass(frozen=True)
class Category:
    """A kind of thing.

    Attributes:
        build: (random generator, novel) to parts; `novel` asks for a style that training never shows.
        stages: where it stands at its natural size: `table`, `floor`, `outdoor`.
    """

    build: Build
    stages: tuple[str, ...]


CATEGORIES: dict[str, Category] = {
    "chair": Category(seating.chair, ("floor", "outdoor")),
    "table": Category(furniture.table, ("floor", "outdoor")),
    "stool": Category(seating.stool, ("floor",)),
    "bench": Category(seating.bench, ("floor", "outdoor")),
    "sofa": Category(seating.sofa, ("floor",)),
    "bed": Category(seating.bed, ("floor",)),
    "shelf": Category(furniture.shelf, ("floor",)),
    "lamp": Category(furniture.lamp, ("table", "floor")),
    "ladder": Category(furniture.ladder, ("floor", "outdoor")),
    "clock": Category(furniture.clock, ("table",)),
    "mug": Category(tableware.mug, ("table",)),
    "bottle": Category(tableware.bottle, ("table",)),
    "bowl": Category(tableware.bowl, ("table",)),
    "teapot": Category(tableware.teapot, ("table",)),
    "goblet": Category(tableware.goblet, ("table",)),
    "vase": Category(tableware.vase, ("table",)),
    "bucket": Category(tableware.bucket, ("floor", "outdoor")),
    "book": Category(items.book, ("table",)),
    "box": Category(items.carton, ("table", "floor")),
    "ball": Category(items.ball, ("table", "floor", "outdoor")),
    "laptop": Category(items.laptop, ("table",)),
    "umbrella": Category(items.umbrella, ("floor", "outdoor")),
    "barrel": Category(items.barrel, ("floor", "outdoor")),
    "cone": Category(items.cone, ("floor", "outdoor")),
    "tree": Category(nature.tree, ("outdoor",)),
    "plant": Category(nature.plant, ("table", "floor")),
    "cactus": Category(nature.cactus, ("table", "floor")),
    "mushroom": Category(nature.mushroom, ("table", "outdoor")),
    "pumpkin": Category(nature.pumpkin, ("table", "floor", "outdoor")),
    "snowman": Category(nature.snowman, ("outdoor",)),
    "car": Category(outdoor.car, ("outdoor",)),
    "boat": Category(outdoor.boat, ("outdoor",)),
    "airplane": Category(outdoor.airplane, ("outdoor",)),
    "house": Category(outdoor.house, ("outdoor",)),
    "windmill": Category(outdoor.windmill, ("outdoor",)),
}

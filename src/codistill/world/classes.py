"""The semantic classes of the world: surroundings first, then people, then things."""

from codistill.world.categories import CATEGORIES

SURROUNDINGS = ("sky", "ground", "wall", "ceiling")
PERSON = "person"
IGNORE = 255

CLASSES: tuple[str, ...] = (*SURROUNDINGS, PERSON, *CATEGORIES)
"""Names by class number, as in the label maps; 255 means ignored."""

CLASS_INDEX: dict[str, int] = {name: number for number, name in enumerate(CLASSES)}

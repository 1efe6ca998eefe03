"""Objects of an embedded world as images with a class; they are cropped from their picture when they are read."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import UInt8

from codistill.files.inputs import Row, fact
from codistill.tasks.shared.groups import Groups
from codistill.tasks.shared.inputs import SampleInputs
from codistill.world.thing_places import ThingPlaces


@dataclass(frozen=True)
class ThingImage:
    """An object in a picture; its pixels are not yet read.

    Attributes:
        places: places of all objects.
        index: index of the object among them.
        split: split of its picture.
        label: number of its class.
    """

    places: ThingPlaces
    index: int
    split: str
    label: int

    @property
    def name(self) -> str:
        """The same name as in the folder of `codistill world things`, so that scores on both can be compared."""
        return f"{self.split}/{self.places.name(self.index)}"

    @property
    def files(self) -> SampleInputs:
        """The shard of the object's picture, and the object's window in the picture."""
        window = self.places.windows[self.index].tolist()
        return (*self.places.shards(self.index), fact(self.name, window))

    def read(self) -> UInt8[np.ndarray, "row column 3"]:
        return self.places.read(self.index)


@dataclass(frozen=True)
class WorldThings:
    """The objects of a split, in the order of their categories and names, as a map-style data set.

    Attributes:
        places: where the objects are.
        classes: names of the classes, by number.
    """

    places: ThingPlaces
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.places)

    @cached_property
    def groups(self) -> Groups:
        """One group per scene, since objects in one picture share its light and look alike."""
        return Groups(tuple(self.places.scene(index) for index in range(len(self))), "scenes")

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.classes)}

    def __getitem__(self, index: int) -> ThingImage:
        label = self._numbers[self.places.category(index)]
        return ThingImage(self.places, index, self.places.dataset.split, label)

    def inputs_of(self, index: int) -> SampleInputs:
        """The object's shard and window, and its class."""
        image = self[index]
        return *image.files, fact(f"class of {image.name}", self.classes[image.label])

    def shared_inputs(self) -> Row:
        """Names of all classes, since class numbers depend on them."""
        return (fact("the classes", *self.classes),)

"""The things of an embedded world as images of classes, cut out as they are read."""

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
    """A thing, which is still to be read.

    Attributes:
        places: of the things.
        index: its number among them.
        split: that its picture is in.
        label: the number of its class.
    """

    places: ThingPlaces
    index: int
    split: str
    label: int

    @property
    def name(self) -> str:
        """As in the folder of `codistill world things`, so that scores on both can be compared."""
        return f"{self.split}/{self.places.name(self.index)}"

    @property
    def files(self) -> SampleInputs:
        """Its picture's shard, and its window."""
        window = self.places.windows[self.index].tolist()
        return (*self.places.shards(self.index), fact(self.name, window))

    def read(self) -> UInt8[np.ndarray, "row column 3"]:
        return self.places.read(self.index)


@dataclass(frozen=True)
class WorldThings:
    """The things of a split, in the order of their categories and names; map-style.

    Attributes:
        places: where they are.
        classes: names by number.
    """

    places: ThingPlaces
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.places)

    @cached_property
    def groups(self) -> Groups:
        """One group per scene, since things of one picture share its light and look alike."""
        return Groups(tuple(self.places.scene(index) for index in range(len(self))), "scenes")

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.classes)}

    def __getitem__(self, index: int) -> ThingImage:
        label = self._numbers[self.places.category(index)]
        return ThingImage(self.places, index, self.places.dataset.split, label)

    def inputs_of(self, index: int) -> SampleInputs:
        """The thing's shard and window, and its class."""
        image = self[index]
        return *image.files, fact(f"class of {image.name}", self.classes[image.label])

    def shared_inputs(self) -> Row:
        """All classes: numbers follow from them."""
        return (fact("the classes", *self.classes),)

"""Where people are labelled: `KIND:FOLDER` and a split in, labelled images and their body model out.

Kinds: world (Anny), bedlam and agora (SMPL-X), folder (your own: see `folder.py`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from codistill.bodies.base import BodyModel
from codistill.bodies.load import load_body
from codistill.errors import DataError
from codistill.files.inputs import Inputs, Part, stamped
from codistill.tasks.people.folder import open_folder
from codistill.tasks.people.sample import PeopleImage, PeopleImages, Skeleton
from codistill.tasks.people.smplx_layouts import open_agora, open_bedlam
from codistill.tasks.people.world_people import WorldPeople
from codistill.tasks.shared.data import CHECKED, parse_spec, spread
from codistill.tasks.shared.groups import Groups, named_groups
from codistill.tasks.shared.inputs import SampleInputs, sample_inputs
from codistill.world.dataset import World

SIZE = 448
"""Pixels: side of the square that the encoder sees, for photographs."""


@dataclass(frozen=True)
class PeopleData:
    """A split of a data set.

    Attributes:
        spec, split: as they were given.
        samples: labelled images.
        body: whose parameters and joints the labels are.
        size: side of the square that the encoder sees, if nothing else is asked for.
        notes: what was left out of the labels, to be said before anything is computed.
    """

    spec: str
    split: str
    samples: PeopleImages
    body: BodyModel
    size: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class SomePeople:
    """Some images of a data set, in the order given."""

    data: PeopleImages
    indices: tuple[int, ...]

    @property
    def groups(self) -> Groups:
        """Of these images."""
        return named_groups(self.data).at(self.indices)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> PeopleImage:
        return self.data[self.indices[index]]

    def inputs_of(self, index: int) -> SampleInputs:
        """Of that image."""
        return sample_inputs(self.data, self.indices[index])

    def label_of(self, index: int) -> Part | None:
        """Of that image."""
        return _label_of(self.data, self.indices[index])


def _label_of(data: PeopleImages, index: int) -> Part | None:
    """What a list says of an image; None where its label is among its files."""
    found = getattr(data, "label_of", None)
    return None if found is None else found(index)


def labelled_inputs(data: PeopleImages) -> Inputs:
    """What images and labels of a data set are made from today."""
    rows = (
        (*sample_inputs(data, at), *((label,) if (label := _label_of(data, at)) else ()))
        for at in range(len(data))
    )
    return stamped(rows)


def _world(root: Path, split: str, _: bool) -> tuple[PeopleImages, BodyModel, int]:
    world = World(root)
    samples = world.people(split)
    body = load_body("anny")
    return WorldPeople(samples, Skeleton.of(body)), body, world.size


def _photographs(
    opener: Callable[[Path, str, bool], tuple[PeopleImages, BodyModel]],
) -> Callable[[Path, str, bool], tuple[PeopleImages, BodyModel, int]]:
    def opened(root: Path, split: str, partial: bool) -> tuple[PeopleImages, BodyModel, int]:
        return (*opener(root, split, partial), SIZE)

    return opened


KINDS: dict[str, Callable[[Path, str, bool], tuple[PeopleImages, BodyModel, int]]] = {
    "world": _world,
    "bedlam": _photographs(open_bedlam),
    "agora": _photographs(open_agora),
    "folder": _photographs(open_folder),
}
"""How each kind is opened, from its folder, the split, and whether a part of it will do."""


def open_people(spec: str, split: str, *, partial: bool = False) -> PeopleData:
    """A split of a data set.

    Args:
        spec: `KIND:FOLDER`, e.g. `bedlam:/data/bedlam`.
        split: `train` or `val`; the world has `test` as well.
        partial: leave out images whose file is missing.

    Raises:
        ConfigError: if the spec makes no sense.
        DataError: if the data set lies otherwise than expected; the text says how.
    """
    kind, root = parse_spec(spec, KINDS)
    samples, body, size = KINDS[kind](root, split, partial)
    return PeopleData(spec, split, samples, body, size, getattr(samples, "notes", ()))


def limited_people(data: PeopleImages, limit: int | None) -> PeopleImages:
    """The data set, or `limit` evenly spread images of it."""
    if limit is not None and limit < 1:
        raise DataError(f"the number of images must be 1 or more; got {limit}")
    return data if limit is None or limit >= len(data) else SomePeople(data, tuple(spread(len(data), limit)))


def check_people(data: PeopleImages, name: str) -> None:
    """Read some images before training.

    Raises:
        DataError: if there are none, one cannot be used, or there is nobody in any of them.
    """
    if len(data) == 0:
        raise DataError(f"{name}: there are no images")
    if not sum(len(data[index].truth) for index in spread(len(data), CHECKED)):
        raise DataError(f"{name}: nobody is labelled in any of the images that were looked at")

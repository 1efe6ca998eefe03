"""Open people data: from `LAYOUT:FOLDER` and a split to labelled images and their body model.

Layouts: world (Anny), bedlam and agora (SMPL-X), folder (your own: see `folder.py`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from codistill.bodies.base import BodyModel
from codistill.bodies.load import load_body
from codistill.errors import DataError
from codistill.tasks.layout import Layout, TaskData, Where
from codistill.tasks.people.folder import FolderPeople, open_folder
from codistill.tasks.people.sample import Skeleton
from codistill.tasks.people.smplx_layouts import SmplxImages, open_agora, open_bedlam
from codistill.tasks.people.world_people import WorldPeople
from codistill.tasks.shared.data import CHECKED, spread
from codistill.world.dataset import World

SIZE = 448
"""Side in pixels of the encoder's square input, for photographs."""


@dataclass(frozen=True, kw_only=True)
class PeopleData(TaskData):
    """A split of labelled images.

    Attributes:
        body: body model of the labels.
        size: default side of the encoder's square input, pixels.
    """

    body: BodyModel
    size: int


def _world(where: Where) -> PeopleData:
    world, body = World(where.root), load_body("anny")
    samples = WorldPeople(world.people(where.split), Skeleton.of(body))
    return PeopleData(spec=where.spec, split=where.split, samples=samples, body=body, size=world.size)


def _photographs(
    open_split: Callable[[Path, str, bool], SmplxImages | FolderPeople],
) -> Callable[[Where], PeopleData]:
    def opened(where: Where) -> PeopleData:
        samples = open_split(where.root, where.split, where.partial)
        return PeopleData(
            spec=where.spec,
            split=where.split,
            samples=samples,
            notes=samples.notes,
            body=samples.body,
            size=SIZE,
        )

    return opened


LAYOUTS = {
    "world": Layout(_world, "the embedded world's people (Anny)", ("train", "val", "test")),
    "bedlam": Layout(_photographs(open_bedlam), "BEDLAM's label files and images (SMPL-X)"),
    "agora": Layout(_photographs(open_agora), "AGORA with BEDLAM's processed labels (SMPL-X)"),
    "folder": Layout(
        _photographs(open_folder),
        "your own: people.json and SPLIT.jsonl with one image a line",
        splits=("train", "val", "test"),
        exception=("val", "a folder of your own needs no test"),
    ),
}
"""Layouts by name, the word before the colon."""


def check_people(data: PeopleData, training: bool = True) -> Sequence[str]:
    """Read some images before anything is computed.

    Raises:
        DataError: if there are no images, one cannot be used, or none shows a person.
    """
    name = f"{data.spec} ({data.split})"
    if len(data.samples) == 0:
        raise DataError(f"{name}: there are no images")
    if not sum(len(data.samples[index].truth) for index in spread(len(data.samples), CHECKED)):
        raise DataError(f"{name}: nobody is labelled in any of the images that were checked")
    return []

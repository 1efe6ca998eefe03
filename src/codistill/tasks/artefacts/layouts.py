"""Pictures without any truth: those below a folder, and those of an embedded world's domains."""

from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from codistill.data import Source, open_source
from codistill.errors import DataError, unknown_name
from codistill.files.listing import list_files
from codistill.tasks.shared.groups import Groups, groups_of
from codistill.tasks.shared.pictures import FilePicture, SourcePicture
from codistill.tasks.task import Layout, TaskData, Where
from codistill.world.dataset import World, world_source
from codistill.world.identity import SPLITS, scene_of

ALL = "all"
"""The only split of a folder, and what `groups.json` calls it."""


@dataclass(frozen=True)
class FolderPictures:
    """Image files below a folder, map-style.

    Attributes:
        root: the folder.
        paths: of the files.
        groups: of the images.
    """

    root: Path
    paths: tuple[Path, ...]
    groups: Groups

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> FilePicture:
        return FilePicture(self.paths[index], self.root)


@dataclass(frozen=True)
class SourcePictures:
    """Pictures of a world's shards, map-style.

    Attributes:
        sources: one for each domain.
    """

    sources: tuple[Source, ...]

    def __len__(self) -> int:
        return sum(map(len, self.sources))

    @cached_property
    def groups(self) -> Groups:
        """One group per scene: a room has two views."""
        return Groups(tuple(scene_of(name) for source in self.sources for name in source.names()), "scenes")

    def __getitem__(self, index: int) -> SourcePicture:
        at = index
        for source in self.sources:
            if 0 <= at < len(source):
                return SourcePicture(source, at)
            at -= len(source)
        raise IndexError(f"picture {index} of {len(self)}")


def open_pictures(where: Where) -> TaskData:
    """All image files below a folder.

    Raises:
        DataError: if there are none.
    """
    if not where.root.is_dir():
        raise DataError(
            f"{where.root}: no such folder. Expected a folder with image files, in folders or not"
        )
    paths = tuple(list_files(where.root, deep=True))
    if not paths:
        raise DataError(f"{where.root}: no images below it")
    names = [path.relative_to(where.root).as_posix() for path in paths]
    pictures = FolderPictures(where.root, paths, groups_of(where.root, ALL, names))
    return TaskData(spec=where.spec, split=where.split, samples=pictures)


def open_world(where: Where, domains: tuple[str, ...] = ()) -> TaskData:
    """A split of a world: of these domains, or of all that it has.

    Raises:
        DataError: if it lacks one of them.
    """
    world = World(where.root)
    for domain in domains:
        if domain not in world.domains:
            raise DataError(f"{where.root}: {unknown_name('domain', domain, world.domains)}")
    chosen = domains or world.domains
    sources = tuple(open_source(world_source(where.root, domain, where.split)) for domain in chosen)
    return TaskData(spec=where.spec, split=where.split, samples=SourcePictures(sources))


LAYOUTS = {
    "folder": Layout(
        open_pictures,
        "image files below the folder",
        (ALL,),
        exception=(ALL, "a folder of pictures has no parts"),
    ),
    "world": Layout(open_world, "the embedded world, all domains that it has", SPLITS),
    "objects": Layout(partial(open_world, domains=("objects",)), "its objects alone", SPLITS),
    "rooms": Layout(partial(open_world, domains=("rooms",)), "its rooms alone", SPLITS),
    "people": Layout(partial(open_world, domains=("people",)), "its people alone", SPLITS),
}
"""Data sets by the word before the colon."""

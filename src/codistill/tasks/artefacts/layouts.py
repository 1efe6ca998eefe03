"""Pictures without ground truth: image files below a folder, and pictures of the domains of an embedded world."""

from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from codistill.data import Source, open_source
from codistill.errors import DataError, unknown_name
from codistill.files.listing import list_files
from codistill.tasks.layout import Layout, TaskData, Where
from codistill.tasks.shared.groups import Groups, groups_of
from codistill.tasks.shared.pictures import FilePicture, SourcePicture
from codistill.world.dataset import World, world_source
from codistill.world.identity import SPLITS, scene_of

ALL = "all"
"""The only split of a folder, and its name in `groups.json`."""


@dataclass(frozen=True)
class FolderPictures:
    """Image files below a folder, as a map-style data set.

    Attributes:
        root: the folder.
        paths: paths of the files.
        groups: groups of the images.
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
    """Pictures in the shards of a world, as a map-style data set.

    Attributes:
        sources: one source per domain.
    """

    sources: tuple[Source, ...]

    def __len__(self) -> int:
        return sum(map(len, self.sources))

    @cached_property
    def groups(self) -> Groups:
        """One group per scene, since a room has two views."""
        return Groups(tuple(scene_of(name) for source in self.sources for name in source.names()), "scenes")

    def __getitem__(self, index: int) -> SourcePicture:
        at = index
        for source in self.sources:
            if 0 <= at < len(source):
                return SourcePicture(source, at)
            at -= len(source)
        raise IndexError(f"picture {index} of {len(self)}")


def open_pictures(where: Where) -> TaskData:
    """Open all image files below a folder.

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
    """Open a split of a world: the given domains, or all of them if none is given.

    Raises:
        DataError: if the world lacks one of the domains.
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
"""Layouts by name, the word before the colon."""

"""Open sets of posed views: a folder per sample, or pairs as sets of two views, of which the first is the key view.

multiview:ROOT   ROOT/SPLIT/[CATEGORY/]SAMPLE/cameras.txt      lines `NAME fx fy cx cy qw qx qy qz tx ty tz`,
                                                               camera-to-world, in the order of the views
                 ROOT/SPLIT/[CATEGORY/]SAMPLE/images/NAME.jpg  any image file
                 ROOT/SPLIT/[CATEGORY/]SAMPLE/depth/NAME.png   of the key view, 16-bit millimetres along z
                 ROOT/SPLIT/[CATEGORY/]SAMPLE/key.txt          NAME of the key view; without it, the view with depth
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from codistill.errors import DataError, unknown_name
from codistill.files.listing import any_case, by_stem, list_files, list_folders
from codistill.tasks.layout import Layout, TaskData, Where
from codistill.tasks.shared.data import need_folder, read_list
from codistill.tasks.shared.groups import Groups, groups_of, named_groups
from codistill.tasks.two_view.layouts import LAYOUTS as PAIRS
from codistill.tasks.two_view.layouts import read_cameras
from codistill.tasks.two_view.pairs import Pair, PairData, PosedImage, ViewFiles

MULTIVIEW_LAYOUT = (
    "SPLIT/[CATEGORY/]SAMPLE/ with cameras.txt (lines `NAME fx fy cx cy qw qx qy qz tx ty tz`, camera-to-world, "
    "metres), images/NAME.jpg, depth/NAME.png of the key view (16-bit millimetres), and key.txt (its NAME) if "
    "several views have depth"
)


class ViewSet(Protocol):
    """A sample: views of one place, in order.

    Attributes:
        name: name for errors and per-sample results.
        category: category of the sample; scores are averaged over categories; "" if there are none.
    """

    @property
    def name(self) -> str: ...

    @property
    def category(self) -> str: ...

    def __len__(self) -> int: ...

    def read(self, number: int) -> PosedImage: ...

    def key(self) -> int:
        """Index of the view with known depth."""
        ...


@dataclass(frozen=True)
class PairSet:
    """A pair as a set of two views."""

    pair: Pair
    category: str = ""

    @property
    def name(self) -> str:
        return self.pair.name

    def __len__(self) -> int:
        return 2

    def read(self, number: int) -> PosedImage:
        """Read the first or the second view."""
        return (self.pair.first, self.pair.second)[number]

    def key(self) -> int:
        return 0


@dataclass(frozen=True)
class PairSets:
    """Pairs as sets of two views."""

    pairs: PairData

    @property
    def groups(self) -> Groups:
        return named_groups(self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> PairSet:
        return PairSet(self.pairs[index])


@dataclass(frozen=True)
class FolderSet:
    """A folder of views.

    Attributes:
        name, category: see `ViewSet`.
        folder: path of the folder.
        names: names of the views. views: their files, without depth.
    """

    name: str
    category: str
    folder: Path
    names: tuple[str, ...]
    views: tuple[ViewFiles, ...]

    def __len__(self) -> int:
        return len(self.views)

    def read(self, number: int) -> PosedImage:
        """Read one view, with its depth if it has any.

        Raises:
            DataError: if a file cannot be used.
        """
        depth = self._depth(self.names[number])
        return replace(self.views[number], depth=depth if depth.is_file() else None).read()

    def key(self) -> int:
        """Index of the view that key.txt names; without key.txt, of the only view with depth.

        Raises:
            DataError: if there is none, or several without key.txt.
        """
        path = self.folder / "key.txt"
        if path.is_file():
            name = " ".join(read_list(path, MULTIVIEW_LAYOUT)).strip()
            if name not in self.names:
                raise DataError(f"{path}: {unknown_name('view', name, self.names)}")
            if not self._depth(name).is_file():
                raise DataError(f"{self._depth(name)}: no such file, but {path} names the view as the key")
            return self.names.index(name)
        found = [number for number, name in enumerate(self.names) if self._depth(name).is_file()]
        if len(found) != 1:
            raise DataError(
                f"{self.folder}: {len(found) or 'no'} views have a depth map in depth/, so the key view is not "
                f"known. Give one view depth, or name the key in {path.name}"
            )
        return found[0]

    def _depth(self, name: str) -> Path:
        return any_case(self.folder / "depth" / f"{name}.png")


@dataclass(frozen=True)
class FolderSets:
    """Folders of views, with their groups."""

    samples: tuple[FolderSet, ...]
    groups: Groups

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> FolderSet:
        return self.samples[index]


def open_folder(split: Path) -> FolderSets:
    """Open all samples below a folder, sorted by category and name.

    Raises:
        DataError: if there are none, or one is malformed.
    """
    folder = need_folder(split, MULTIVIEW_LAYOUT)
    below = list_folders(folder)
    places = [*below, *(inner for outer in below for inner in list_folders(outer))]
    found = [path for path in places if (path / "cameras.txt").exists() or (path / "images").is_dir()]
    listings = sorted(path / "cameras.txt" for path in found)
    if not listings:
        raise DataError(
            f"{split}: holds no sample (no SAMPLE/cameras.txt). Expected layout: {MULTIVIEW_LAYOUT}"
        )
    depths = Counter(len(path.relative_to(folder).parts) for path in listings)
    if len(depths) > 1:
        raise DataError(
            f"{split}: {depths[3]} samples lie in category folders and {depths[2]} do not; put all of them into "
            "one, or none"
        )
    samples = tuple(_sample(path, folder) for path in listings)
    return FolderSets(samples, groups_of(split.parent, split.name, [sample.name for sample in samples]))


def _sample(listing: Path, root: Path) -> FolderSet:
    folder = listing.parent
    cameras = read_cameras(listing, MULTIVIEW_LAYOUT)
    images = by_stem(list_files(need_folder(folder / "images", MULTIVIEW_LAYOUT)))
    missing = [name for name in cameras if name not in images]
    if missing:
        raise DataError(
            f"{listing}: {len(missing)} of {len(cameras)} views have no image in images/; first: {missing[0]!r}"
        )
    if len(cameras) < 2:
        raise DataError(f"{listing}: a sample needs two views at least; got {len(cameras)}")
    return FolderSet(
        name=folder.relative_to(root).as_posix(),
        category="" if folder.parent == root else folder.parent.name,
        folder=folder,
        names=tuple(cameras),
        views=tuple(ViewFiles(images[name], None, *camera) for name, camera in cameras.items()),
    )


def _sets(where: Where) -> TaskData:
    return TaskData(spec=where.spec, split=where.split, samples=open_folder(where.root / where.split))


def _pairs(layout: Layout) -> Callable[[Where], TaskData]:
    def opened(where: Where) -> TaskData:
        pairs = layout.open(where)
        return TaskData(spec=where.spec, split=where.split, samples=PairSets(pairs.samples))

    return opened


LAYOUTS = {
    "multiview": Layout(_sets, "SPLIT/[CATEGORY/]SAMPLE/ with cameras.txt, images, depth, key.txt", ()),
    "world": Layout(_pairs(PAIRS["world"]), "pairs of the embedded world", PAIRS["world"].splits),
    "folder": Layout(_pairs(PAIRS["folder"]), "pairs of your own", PAIRS["folder"].splits),
}
"""Layouts by name, the word before the colon."""


def check_sets(data: TaskData, training: bool = False) -> list[str]:
    """Raise DataError if there is no sample."""
    if len(data.samples) == 0:
        raise DataError(f"{data.spec} ({data.split}): there are no samples")
    return []


def check_keys(data: TaskData, training: bool = False) -> list[str]:
    """Raise DataError if there is no sample, or one has no key view; pairs always have one."""
    check_sets(data)
    for index in range(len(data.samples)) if data.spec.startswith("multiview:") else ():
        data.samples[index].key()
    return []

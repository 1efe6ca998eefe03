"""Open SPair-71k: pairs of different objects of one class, with the keypoints that both pictures show.

    spair:ROOT    ROOT/JPEGImages/CLASS/IMAGE.jpg
                  ROOT/PairAnnotation/{trn,val,test}/*.json    as published

A split is `test`, `val` or `trn`. `test-200` draws 200 pairs of each class, as Probe3D scores them. Probe3D's random
draws depend on the order in which the disk lists files; here names are sorted first.
"""

import random
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from codistill.data.rooted import path_below
from codistill.errors import CodistillError, DataError
from codistill.files.json_files import read_json
from codistill.files.listing import list_files
from codistill.tasks.layout import Layout, TaskData, Where
from codistill.tasks.shared.data import check_count, need_folder
from codistill.tasks.shared.groups import Groups

SPAIR_LAYOUT = "JPEGImages/CLASS/IMAGE.jpg, PairAnnotation/{trn,val,test}/*.json (SPair-71k as published)"
COUNTS = {"test": 12234, "val": 5384, "trn": 53340}
SEED = 20


@dataclass(frozen=True)
class KeypointPair:
    """Two pictures with the keypoints that both show.

    Attributes:
        images: paths of source and target.
        points: keypoints of each picture (point, 2), (x, y) in pixels.
        longest: longer side of the target object's box, pixels.
        category: class of both objects.
        viewpoint: difference between the viewpoints: 0, 1 or 2.
        name: name of the pair.
    """

    images: tuple[Path, Path]
    points: tuple[np.ndarray, np.ndarray]
    longest: float
    category: str
    viewpoint: int
    name: str


@dataclass(frozen=True)
class KeypointPairs:
    """A data set of `KeypointPair`."""

    pairs: tuple[KeypointPair, ...]

    @property
    def groups(self) -> Groups:
        """One group per source picture; pairs also share targets, so confidence intervals are slightly too narrow."""
        names = tuple(f"{pair.category}/{pair.images[0].stem}" for pair in self.pairs)
        return Groups(names, "source pictures, which share targets")

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> KeypointPair:
        return self.pairs[index]


@dataclass(frozen=True, kw_only=True)
class SPairData(TaskData):
    """Pairs of a split, class by class.

    Attributes:
        classes: categories in the split.
    """

    classes: tuple[str, ...]


def open_spair(where: Where) -> SPairData:
    """Open the pairs of a split, or the given number of pairs of each class.

    Raises:
        DataError: if the split is unknown, pairs are missing (`partial` uses the rest), or a pair is damaged.
    """
    split = re.fullmatch(r"(test|val|trn)(?:-([1-9]\d*))?", where.split)
    if split is None:
        raise DataError(
            f"{where.spec}: no split {where.split!r}; test, val, trn, or test-200: 200 pairs of each class"
        )
    name, drawn = split[1], int(split[2] or COUNTS["trn"])
    files = list_files(need_folder(where.root / "PairAnnotation" / name, SPAIR_LAYOUT), (".json",))
    check_count(len(files), COUNTS[name], f"{where.spec} ({name})", where.partial, "pairs")
    need_folder(where.root / "JPEGImages", SPAIR_LAYOUT)
    by_class: dict[str, list[KeypointPair]] = {}
    for path in files:
        pair = _read(where.root, path)
        by_class.setdefault(pair.category, []).append(pair)
    classes = tuple(sorted(by_class))
    pairs: list[KeypointPair] = []
    for category in classes:
        found = by_class[category]
        pairs += found if drawn >= len(found) else random.Random(SEED).sample(found, drawn)
    return SPairData(spec=where.spec, split=where.split, samples=KeypointPairs(tuple(pairs)), classes=classes)


def _read(root: Path, path: Path) -> KeypointPair:
    try:
        said = read_json(path)
        folder = str(root / "JPEGImages" / said["category"])
        source, target = (Path(path_below(said[f"{end}_imname"], folder)) for end in ("src", "trg"))
        points, others = (
            np.array(said[f"{end}_kps"], dtype=np.float32).reshape(-1, 2) for end in ("src", "trg")
        )
        left, top, right, bottom = said["trg_bndbox"]
        longest = float(max(right - left, bottom - top))
        if len(points) != len(others) or longest <= 0:
            raise ValueError(f"{len(points)} and {len(others)} keypoints, a box of {longest:g} pixels")
        viewpoint = int(said["viewpoint_variation"])
        return KeypointPair(
            (source, target), (points, others), longest, said["category"], viewpoint, path.stem
        )
    except (CodistillError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: is no pair of SPair-71k (src_imname, trg_imname, src_kps, trg_kps, trg_bndbox, category, "
            f"viewpoint_variation); {type(error).__name__}: {error}"
        ) from error


LAYOUTS = {"spair": Layout(open_spair, f"{SPAIR_LAYOUT}; split test-200: 200 pairs of each class", ())}

"""Open segmentation data sets in their usual layouts: from a folder and a split to samples with class numbers.

Every layout states the files it expects, the number of images, and the meaning of label values.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from codistill.data.rooted import path_below
from codistill.errors import DataError
from codistill.files.listing import by_stem, list_files
from codistill.metrics.segmentation import IGNORE
from codistill.tasks.dense.segmentation.classes import (
    ADE20K,
    CITYSCAPES,
    CITYSCAPES_IDS,
    NYU40,
    SCANNET20,
    SCANNET20_IDS,
)
from codistill.tasks.shared.data import (
    DenseData,
    FilePairs,
    check_count,
    folder_pairs,
    need_folder,
    pair_up,
    read_list,
)
from codistill.tasks.shared.groups import Groups, alone, groups_of

_UNEXPECTED = 254
_JPEG = (".jpg", ".jpeg")
MAX_CLASSES = 254
"""Largest number of classes: class numbers are bytes, and 254 and 255 have other meanings."""


@dataclass(frozen=True)
class LabelValues:
    """The meaning of the values of a label file.

    Attributes:
        classes: class by label value; `IGNORE` for values that are known but not scored.
        expected: description of the expected values, for errors.
    """

    classes: Mapping[int, int]
    expected: str

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Convert label values to classes (uint8).

        Raises:
            DataError: for values without a meaning.
        """
        table = np.full(65536 if values.dtype == np.uint16 else 256, _UNEXPECTED, dtype=np.uint8)
        for value, number in self.classes.items():
            if value < len(table):
                table[value] = number
        labels = table[values]
        wrong = np.unique(values[labels == _UNEXPECTED])
        if wrong.size:
            raise DataError(
                f"has the label values {', '.join(map(str, wrong[:8]))}{' …' if wrong.size > 8 else ''}; "
                f"expected {self.expected}"
            )
        return labels


def shifted_labels(count: int) -> LabelValues:
    """Labels 1 to count are classes 0 to count - 1; 0 and 255 are ignored ("reduce zero label")."""
    values = {0: IGNORE, 255: IGNORE} | {number + 1: number for number in range(count)}
    return LabelValues(values, f"0 (ignored) to {count}")


@dataclass(frozen=True)
class Found:
    """A split of a data set found on disk."""

    data: DenseData
    classes: tuple[str, ...]


def ade20k(root: Path, split: str, partial: bool) -> Found:
    """ADEChallengeData2016: images/{training,validation}, annotations/{training,validation}."""
    folder = {"train": "training", "val": "validation"}[split]
    layout = f"ADEChallengeData2016/images/{folder}/*.jpg and annotations/{folder}/*.png"
    images = list_files(need_folder(root / "images" / folder, layout), _JPEG)
    labels = need_folder(root / "annotations" / folder, layout)
    check_count(len(images), {"train": 20210, "val": 2000}[split], f"{root} ({split})", partial)
    pairs = pair_up(images, lambda image: labels / f"{image.stem}.png", f"{root} ({split})")
    groups = groups_of(
        root, split, [image.name for image in images], alone([i.name for i in images], "images")
    )
    return Found(FilePairs(pairs, groups, shifted_labels(150)), ADE20K)


def cityscapes(root: Path, split: str, partial: bool) -> Found:
    """leftImg8bit/{train,val}/CITY/*_leftImg8bit.png, gtFine/…/*_gtFine_label{TrainIds,Ids}.png."""
    layout = f"leftImg8bit/{split}/CITY/*_leftImg8bit.png and gtFine/{split}/CITY/*_gtFine_labelTrainIds.png"
    pictures = list_files(need_folder(root / "leftImg8bit" / split, layout), (".png",), deep=True)
    images = [path for path in pictures if path.stem.endswith("_leftImg8bit")]
    labels = need_folder(root / "gtFine" / split, layout)
    check_count(len(images), {"train": 2975, "val": 500}[split], f"{root} ({split})", partial)
    train_ids = any(
        path.stem.endswith("_gtFine_labelTrainIds") for path in list_files(labels, (".png",), deep=True)
    )
    kind = "labelTrainIds" if train_ids else "labelIds"

    def label_of(image: Path) -> Path:
        name = f"{image.stem.removesuffix('_leftImg8bit')}_gtFine_{kind}.png"
        return labels / image.parent.name / name

    if train_ids:
        values = LabelValues(
            {255: IGNORE} | {number: number for number in range(19)}, "train ids 0 to 18, and 255 (ignored)"
        )
    else:
        known = dict.fromkeys((*range(34), 255), IGNORE)
        values = LabelValues(known | {raw: n for n, raw in enumerate(CITYSCAPES_IDS)}, "label ids 0 to 33")
    pairs = pair_up(images, label_of, f"{root} ({split})")
    # CITY_SEQUENCE_FRAME: the authors gave some drives through a city one sequence number, and others many.
    sequences = Groups(tuple(image.name.rsplit("_", 2)[0] for image in images), "sequences")
    groups = groups_of(root, split, [f"{image.parent.name}/{image.name}" for image in images], sequences)
    return Found(FilePairs(pairs, groups, values, (1024, 2048)), CITYSCAPES)


def nyuv2(root: Path, split: str, partial: bool) -> Found:
    """RGB/*.jpg, Label/*.png, train.txt, test.txt; or images/*, segmentation/*.png, gt_sets/{train,val}.txt."""
    layout = (
        "NYUDepthv2/{RGB,Label,train.txt,test.txt}, or NYUD_MT/{images,segmentation,gt_sets/{train,val}.txt}"
    )
    need_folder(root, layout)
    if (root / "RGB").is_dir():
        listing = root / ("train.txt" if split == "train" else "test.txt")
        images, labels = root / "RGB", root / "Label"
    else:
        listing = root / "gt_sets" / f"{split}.txt"
        images, labels = root / "images", root / "segmentation"
    need_folder(images, layout)
    need_folder(labels, layout)
    names = [Path(line.split()[0]).stem for line in read_list(listing, layout)]
    pictures = by_stem(list_files(images))
    missing = [name for name in names if name not in pictures]
    if missing:
        raise DataError(f"{images}: misses {len(missing)} images of {listing.name}: {', '.join(missing[:3])}")
    check_count(len(names), {"train": 795, "val": 654}[split], f"{root} ({split})", partial)
    pairs = pair_up(
        [pictures[name] for name in names], lambda image: labels / f"{image.stem}.png", f"{root} ({split})"
    )
    # Files are numbered consecutively over all scenes; nothing marks where a scene ends.
    groups = groups_of(root, split, [image.name for image, _ in pairs])
    return Found(FilePairs(pairs, groups, shifted_labels(40)), NYU40)


def scannet(root: Path, split: str, partial: bool) -> Found:
    """scannet_frames_25k/SCENE/{color/*.jpg,label/*.png} with NYU40 labels, scannetv2_{train,val}.txt beside them."""
    layout = f"scannet_frames_25k/SCENE/color/*.jpg, …/label/*.png (NYU40 labels) and scannetv2_{split}.txt"
    frames = need_folder(
        root / "scannet_frames_25k" if (root / "scannet_frames_25k").is_dir() else root, layout
    )
    beside = [folder / f"scannetv2_{split}.txt" for folder in (root, frames, frames.parent)]
    listing = next((path for path in beside if path.is_file()), beside[0])
    scenes = [line.strip() for line in read_list(listing, layout)]
    places = [Path(path_below(scene, str(frames))) for scene in scenes]
    lost = [place.name for place in places if not place.is_dir()]
    if lost and not partial:
        raise DataError(
            f"{frames}: misses {len(lost)} of the {len(scenes)} scenes of {listing.name}, e.g. {lost[0]}. Complete it, "
            "or use the rest with --partial (its scores are then not comparable)."
        )
    folders = [place / "color" for place in places if (place / "color").is_dir()]
    images = [image for folder in folders for image in list_files(folder, _JPEG)]
    known = dict.fromkeys((*range(41), 255), IGNORE)
    values = LabelValues(
        known | {raw: number for number, raw in enumerate(SCANNET20_IDS)},
        "NYU40 labels, 0 to 40 (raw ScanNet ids must be mapped first, by scannetv2-labels.combined.tsv)",
    )
    pairs = pair_up(
        images, lambda image: image.parent.parent / "label" / f"{image.stem}.png", f"{root} ({split})"
    )
    places = Groups(tuple(image.parent.parent.name.split("_")[0] for image in images), "scenes")
    names = [f"{image.parent.parent.name}/{image.name}" for image in images]
    return Found(FilePairs(pairs, groups_of(root, split, names, places), values), SCANNET20)


def folder(root: Path, split: str, partial: bool) -> Found:
    """images/SPLIT/*, labels/SPLIT/*.png (the same names), classes.json: names, or names with their label values."""
    layout = f"images/{split}/*.jpg, labels/{split}/*.png with the same names, classes.json (see docs/evaluation.md)"
    pairs, groups = folder_pairs(root, split, "labels", layout)
    classes, values = folder_classes(root / "classes.json", layout)
    return Found(FilePairs(pairs, groups, values, about=(root / "classes.json",)), classes)


def folder_classes(path: Path, layout: str) -> tuple[tuple[str, ...], LabelValues]:
    """Read the classes of a folder of your own, and the meaning of its label values.

    `["sky", "ground"]` gives the values 0 and 1; `{"background": 0, "foreground": 255}` states the values. 255 is
    ignored unless it is listed as a class.

    Raises:
        DataError: if the file has another form.
    """
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}). Expected layout: {layout}") from error
    values = dict(enumerate(said)) if isinstance(said, list) else {}
    if isinstance(said, dict) and len({*map(str, said.values())}) == len(said):
        values = {value: name for name, value in said.items()}
    good = all(
        type(value) is int and 0 <= value < 65536 and isinstance(name, str) for value, name in values.items()
    )
    good = good and len({*values.values()}) == len(values)
    if not good or not 2 <= len(values) <= MAX_CLASSES:
        raise DataError(
            f'{path}: expected a list of two or more different names, ["sky", "ground", …], or names with the values '
            f'that they have in the label files, {{"background": 0, "foreground": 255}}; {MAX_CLASSES} classes at most'
        )
    meaning = {255: IGNORE} | {value: number for number, value in enumerate(values)}
    listed = (
        f"0 to {len(values) - 1}" if list(values) == list(range(len(values))) else ", ".join(map(str, values))
    )
    ignored = "" if 255 in values else ", and 255 (ignored)"
    expected = f"{listed} (classes.json has {len(values)} names){ignored}"
    return tuple(values.values()), LabelValues(meaning, expected)

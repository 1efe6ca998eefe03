"""Open segmentation data: from `LAYOUT:FOLDER` and a split to samples with classes and the layout's protocol.

Layouts: ade20k, cityscapes, nyuv2, scannet, folder (your own), world. ADE20K's settings are those of DINOv2. The
settings of the others are ours, since their sources give none (crop and scale as usual for each).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from codistill.errors import ConfigError, DataError
from codistill.tasks.dense.protocol import DenseSplit
from codistill.tasks.dense.segmentation.classes import ADE20K, CITYSCAPES, NYU40, SCANNET20
from codistill.tasks.dense.segmentation.layouts import Found, ade20k, cityscapes, folder, nyuv2, scannet
from codistill.tasks.dense.world import WorldSamples
from codistill.tasks.layout import Layout, Where
from codistill.tasks.shared.data import spread
from codistill.world.dataset import SegmentationSample, World


@dataclass(frozen=True, kw_only=True)
class SegmentationProtocol:
    """How images of a data set are prepared.

    Attributes:
        scale: long and short side into which images are resized, with their aspect ratio kept (the smaller factor
            applies).
        crop: rows and columns of training views and of test windows.
        stride: stride of sliding windows (rows, columns).
        mode: `slide` or `whole` (the image at once).
        zoom: range of the random factor on `scale` in training.
        steps: steps of a fit.
    """

    scale: tuple[int, int]
    crop: tuple[int, int]
    stride: tuple[int, int]
    mode: Literal["slide", "whole"] = "slide"
    zoom: tuple[float, float] = (0.5, 2.0)
    steps: int = 40_000

    def __post_init__(self) -> None:
        sides = (*self.scale, *self.crop, *self.stride)
        if min(sides) < 1 or not 0 < self.zoom[0] <= self.zoom[1] or self.steps < 1:
            raise ConfigError(f"sizes, strides, zoom and steps must be positive; got {self}")
        if any(step > side for step, side in zip(self.stride, self.crop, strict=True)):
            raise ConfigError(f"windows of {self.crop} with stride {self.stride} would leave gaps")

    def at_size(self, size: int) -> "SegmentationProtocol":
        """The protocol for square images with another side."""
        return replace(self, scale=(4 * size, size), crop=(size, size), stride=(size, size))


PROTOCOLS = {
    "ade20k": SegmentationProtocol(scale=(2048, 512), crop=(512, 512), stride=(341, 341)),
    "cityscapes": SegmentationProtocol(scale=(2048, 1024), crop=(512, 1024), stride=(341, 683)),
    "nyuv2": SegmentationProtocol(scale=(640, 480), crop=(480, 480), stride=(320, 320)),
    "scannet": SegmentationProtocol(scale=(640, 480), crop=(480, 480), stride=(320, 320)),
    "folder": SegmentationProtocol(scale=(2048, 512), crop=(512, 512), stride=(341, 341), steps=4000),
    "world": SegmentationProtocol(
        scale=(896, 224), crop=(224, 224), stride=(224, 224), mode="whole", steps=2000
    ),
}


LOOKED_AT = 512
"""Largest number of images whose labels are searched for occurring classes."""

RELEASED = {"ade20k": ADE20K, "cityscapes": CITYSCAPES, "nyuv2": NYU40, "scannet": SCANNET20}
"""Classes by layout, for released heads, whose files do not name them."""


@dataclass(frozen=True, kw_only=True)
class SegmentationData(DenseSplit[SegmentationProtocol]):
    """A split of a data set.

    Attributes:
        classes: names of the classes, by number.
    """

    classes: tuple[str, ...]


def _labels(sample: SegmentationSample) -> np.ndarray:
    return sample.labels.numpy()


def _world(where: Where) -> SegmentationData:
    world = World(where.root)
    return SegmentationData(
        spec=where.spec,
        split=where.split,
        samples=WorldSamples(world.segmentation(where.split), _labels),
        classes=world.classes,
        protocol=PROTOCOLS["world"].at_size(world.size),
    )


def _files(name: str, find: Callable[[Path, str, bool], Found]) -> Callable[[Where], SegmentationData]:
    def opened(where: Where) -> SegmentationData:
        found = find(where.root, where.split, where.partial)
        return SegmentationData(
            spec=where.spec,
            split=where.split,
            samples=found.data,
            classes=found.classes,
            protocol=PROTOCOLS[name],
        )

    return opened


LAYOUTS = {
    "ade20k": Layout(_files("ade20k", ade20k), "ADEChallengeData2016, as published"),
    "cityscapes": Layout(_files("cityscapes", cityscapes), "leftImg8bit and gtFine, as published"),
    "nyuv2": Layout(_files("nyuv2", nyuv2), "NYUDepthv2 or NYUD_MT with 40 classes"),
    "scannet": Layout(_files("scannet", scannet), "scannet_frames_25k with the 20 classes"),
    "folder": Layout(_files("folder", folder), "your own: images/SPLIT, labels/SPLIT, classes.json"),
    "world": Layout(_world, "the embedded world", ("train", "val", "test")),
}
"""Layouts by name, the word before the colon."""


@dataclass(frozen=True)
class ClassesSeen:
    """Which classes occur in the labels of a split.

    Attributes:
        absent: names of the classes without a pixel in the searched images.
        images: number of images searched: all, `LOOKED_AT`, or fewer if every class was found earlier.
        total: number of images of the data set.
    """

    absent: tuple[str, ...]
    images: int
    total: int

    def about(self, what: str) -> str:
        """A sentence on missing classes, for `what` (`training`, `scoring`); "" if none is missing."""
        if not self.absent:
            return ""
        listed = ", ".join(self.absent[:8]) + (" …" if len(self.absent) > 8 else "")
        where = f"the {self.total}" if self.images == self.total else f"{self.images} of the {self.total}"
        return f"{len(self.absent)} classes have no labelled pixel in {where} images for {what}: {listed}"


def classes_seen(data: SegmentationData, *, several: bool = True) -> ClassesSeen:
    """Search the labels of evenly spread images until every class is found.

    Args:
        data: the split whose labels are searched.
        several: refuse labels of a single class, as training must.

    Raises:
        DataError: if no pixel is labelled, or (`several`) only one class is.
    """
    counts = np.zeros(len(data.classes), dtype=np.int64)
    total, looked = len(data.samples), 0
    for index in spread(total, LOOKED_AT):
        counts += np.bincount(data.samples[index].target.ravel(), minlength=256)[: len(counts)]
        looked += 1
        if (counts > 0).all():
            break
    name = f"{data.spec} ({data.split})"
    if counts.sum() == 0:
        raise DataError(f"{name}: no image has a labelled pixel: every label is ignored (255)")
    seen = [one for one, count in zip(data.classes, counts, strict=True) if count]
    if several and len(seen) == 1:
        raise DataError(
            f"{name}: of {len(data.classes)} classes only {seen[0]!r} has labelled pixels in {looked} images, so there "
            "is nothing to tell apart; 255 is ignored. If 255 is a class of the label files (a binary mask), say so in "
            'classes.json: {"background": 0, "foreground": 255}.'
        )
    absent = tuple(one for one, count in zip(data.classes, counts, strict=True) if not count)
    return ClassesSeen(absent, looked, total)

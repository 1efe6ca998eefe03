"""Data sets of a built world: images with labels, depth, second views or people, read from the shards on demand.

    world = World("runs/world")
    len(world.depth("train")), world.depth("train")[0].depth       # (row, column) metres, inf for sky
    world.sources("train")                                         # three ordinary sources for distillation

Every data set is map-style, can be pickled (for loader workers) and opens its shards at the first access. Images are
uint8 (row, column, 3); the encoder normalizes them.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from codistill.data import Source, SourceConfig, open_source
from codistill.errors import DataError, unknown_name
from codistill.files.inputs import Part
from codistill.imaging import decode_map, decode_rgb
from codistill.imaging.depth16 import to_metres
from codistill.world.build import read_world, split_folder
from codistill.world.classes import CLASSES
from codistill.world.identity import DATA_DOMAIN, SCENE, SPLITS, VIEWS, scene_of


@dataclass(frozen=True)
class SegmentationSample:
    """An image with the class of every pixel (index into `CLASSES`; 255 for ignored pixels)."""

    image: UInt8[Tensor, "row column 3"]
    labels: UInt8[Tensor, "row column"]
    name: str


@dataclass(frozen=True)
class DepthSample:
    """An image with z-depth in metres (inf for sky) and intrinsics in pixels."""

    image: UInt8[Tensor, "row column 3"]
    depth: Float[Tensor, "row column"]
    intrinsics: Float[Tensor, "3 3"]
    name: str


@dataclass(frozen=True)
class PairSample:
    """Two views of one place; axis `view` is 0 or 1.

    Attributes:
        images, depths, intrinsics, poses: of both views; poses are camera-to-world, in metres.
        overlap: share of each view that the other one sees, averaged over both.
        relative: transformation from the camera of view 0 to that of view 1.
    """

    images: UInt8[Tensor, "view row column 3"]
    depths: Float[Tensor, "view row column"]
    intrinsics: Float[Tensor, "view 3 3"]
    poses: Float[Tensor, "view 4 4"]
    relative: Float[Tensor, "4 4"]
    overlap: float
    name: str


@dataclass(frozen=True)
class PeopleSample:
    """An image with its people, in the camera's frame; axis `person` may be empty.

    Attributes:
        phenotypes: in [0, 1], in Anny's order (gender, age, muscle, weight, height, proportions).
        rotation_vectors: Anny's `local-ref` parameters in radians; that of the root is in camera coordinates.
        translations: positions of the pelvis, in metres.
        joints_3d: in metres.
        joints_2d: in pixels (column, row).
        visible: visible share of the silhouette.
        instance_ids: numbers of the people in `instances`.
        instances: instance number per pixel, 0 where there is no person or thing.
    """

    image: UInt8[Tensor, "row column 3"]
    intrinsics: Float[Tensor, "3 3"]
    phenotypes: Float[Tensor, "person 6"]
    rotation_vectors: Float[Tensor, "person rotation 3"]
    translations: Float[Tensor, "person 3"]
    joints_3d: Float[Tensor, "person joint 3"]
    joints_2d: Float[Tensor, "person joint 2"]
    visible: Float[Tensor, " person"]
    instance_ids: Int[Tensor, " person"]
    instances: UInt8[Tensor, "row column"]
    name: str


SampleType = TypeVar("SampleType")


class WorldDataset(ABC, Generic[SampleType], Sequence[SampleType]):
    """Base of the data sets: samples of one split, from one or several domains."""

    views = 1

    def __init__(self, root: Path, domains: Sequence[str], split: str) -> None:
        self.root, self.domains, self.split = Path(root), tuple(domains), split
        self._sources: list[Source] | None = None

    def sources(self) -> list[Source]:
        """The open shards, one source per domain."""
        if self._sources is None:
            self._sources = [open_source(world_source(self.root, d, self.split)) for d in self.domains]
        return self._sources

    def __len__(self) -> int:
        return sum(len(source) for source in self.sources()) // self.views

    def scenes(self) -> tuple[str, ...]:
        """The scene of every sample, in order; the two views of a room belong to one scene."""
        return tuple(
            scene_of(source.name_of(index))
            for source in self.sources()
            for index in range(0, len(source), self.views)
        )

    def __getitem__(self, index: int) -> SampleType:  # type: ignore[override]
        return self.read(*self._place(index))

    def inputs_of(self, index: int) -> tuple[Path | Part, ...]:
        """What a sample is read from: its shards, and the names of its pictures there."""
        source, at = self._place(index)
        numbers = range(self.views * at, self.views * at + self.views)
        shards = dict.fromkeys(path for number in numbers for path in source.files_of(number))
        return (*shards, *((source.name_of(number), "") for number in numbers))

    def _place(self, index: int) -> tuple[Source, int]:
        """The source of a sample, and its index there."""
        at = index
        for source in self.sources():
            if 0 <= at < len(source) // self.views:
                return source, at
            at -= len(source) // self.views
        raise IndexError(f"sample {index} of {len(self)}")

    def __iter__(self) -> Iterator[SampleType]:
        return (self[index] for index in range(len(self)))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_sources": None}

    @abstractmethod
    def read(self, source: Source, index: int) -> SampleType:
        """Read sample `index` of a source."""


class SegmentationDataset(WorldDataset[SegmentationSample]):
    """Images with classes."""

    def read(self, source: Source, index: int) -> SegmentationSample:
        labels = torch.from_numpy(_map(source, index, "labels.png").astype(np.uint8))
        return SegmentationSample(_image(source, index), labels, source.name_of(index))


class DepthDataset(WorldDataset[DepthSample]):
    """Images with depth."""

    def read(self, source: Source, index: int) -> DepthSample:
        facts = read_facts(source, index)
        return DepthSample(
            _image(source, index), _depth(source, index), _tensor(facts["intrinsics"]), source.name_of(index)
        )


class PairDataset(WorldDataset[PairSample]):
    """Pairs of views."""

    views = 2

    def read(self, source: Source, index: int) -> PairSample:
        numbers = (2 * index, 2 * index + 1)
        facts = [read_facts(source, n) for n in numbers]
        return PairSample(
            images=torch.stack([_image(source, n) for n in numbers]),
            depths=torch.stack([_depth(source, n) for n in numbers]),
            intrinsics=_tensor([f["intrinsics"] for f in facts]),
            poses=_tensor([f["camera_to_world"] for f in facts]),
            relative=_tensor(facts[0]["pair"]["camera_1_to_camera_2"]),
            overlap=float(facts[0]["pair"]["overlap"]),
            name=source.name_of(numbers[0]),
        )


class PeopleDataset(WorldDataset[PeopleSample]):
    """Images with bodies."""

    def read(self, source: Source, index: int) -> PeopleSample:
        facts = read_facts(source, index)
        people = facts["people"]
        return PeopleSample(
            image=_image(source, index),
            intrinsics=_tensor(facts["intrinsics"]),
            phenotypes=_tensor([list(p["phenotypes"].values()) for p in people]),
            rotation_vectors=_tensor([p["rotation_vectors"] for p in people]),
            translations=_tensor([p["translation"] for p in people]),
            joints_3d=_tensor([p["joints_3d"] for p in people]),
            joints_2d=_tensor([p["joints_2d"] for p in people]),
            visible=_tensor([p["visible"] for p in people]),
            instance_ids=torch.tensor([p["instance"] for p in people]),
            instances=torch.from_numpy(_map(source, index, "instances.png").astype(np.uint8)),
            name=source.name_of(index),
        )


class World:
    """A built world.

    Attributes:
        root: its folder.
        domains: the domains that it has.
        size: side of its pictures in pixels.
        classes: class names by label.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        plan = read_world(self.root)
        self.domains: tuple[str, ...] = tuple(plan["domains"])
        self.size, self.seed = int(plan["size"]), int(plan["seed"])
        self.classes = CLASSES

    def sources(self, split: str = "train") -> tuple[SourceConfig, ...]:
        """One ordinary source per domain, for distillation."""
        self._check(split)
        return tuple(world_source(self.root, domain, split) for domain in self.domains)

    def segmentation(self, split: str, domains: Sequence[str] = ("objects",)) -> SegmentationDataset:
        """Images of things with classes."""
        self._check(split, domains)
        return SegmentationDataset(self.root, domains, split)

    def depth(self, split: str, domains: Sequence[str] = ("rooms", "objects")) -> DepthDataset:
        self._check(split, domains)
        return DepthDataset(self.root, domains, split)

    def pairs(self, split: str) -> PairDataset:
        """Pairs of views of rooms and courtyards."""
        self._check(split, ("rooms",))
        return PairDataset(self.root, ("rooms",), split)

    def people(self, split: str) -> PeopleDataset:
        self._check(split, ("people",))
        return PeopleDataset(self.root, ("people",), split)

    def _check(self, split: str, domains: Sequence[str] = ()) -> None:
        if split not in SPLITS:
            raise DataError(unknown_name("split", split, SPLITS))
        missing = [domain for domain in domains if domain not in self.domains]
        if missing:
            raise DataError(
                f"{self.root}: has no {', '.join(missing)} (it has {', '.join(self.domains)}). Add them: "
                f"codistill world build --out {self.root} --domains {','.join((*self.domains, *missing))} ..."
            )


def world_source(root: Path, domain: str, split: str) -> SourceConfig:
    """A split of a domain as an ordinary source of the data layer."""
    return SourceConfig(
        name=f"world-{domain}",
        path=str(split_folder(Path(root), domain, split)),
        domain=DATA_DOMAIN[domain],
        kind="shards",
        expected=VIEWS[domain],
        groups=SCENE,
    )


def read_facts(source: Source, index: int) -> dict[str, Any]:
    """Read the JSON of a picture."""
    try:
        return json.loads(source.read_member(index, "json"))
    except ValueError as error:
        raise DataError(f"{source.name_of(index)}: damaged JSON: {error}") from error


def _image(source: Source, index: int) -> Tensor:
    return torch.from_numpy(decode_rgb(source.read(index), name=source.name_of(index)))


def _map(source: Source, index: int, member: str) -> np.ndarray:
    return decode_map(source.read_member(index, member), name=f"{source.name_of(index)} {member}")


def _depth(source: Source, index: int) -> Tensor:
    return torch.from_numpy(to_metres(_map(source, index, "depth.png")))


def _tensor(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)

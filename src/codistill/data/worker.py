"""A loader's worker: load the images of a step's slots into one uint8 tensor, replacing bad images.

The result depends only on the request, not on which worker handles it or on how many there are.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from codistill.data.augment import AugmentConfig, AugmentParams, augment_image, evaluation_image
from codistill.data.augment.device import pack_params
from codistill.data.augment.draw import Size, rows_and_columns
from codistill.data.mixing import SourceSize
from codistill.data.randomness import AUGMENT, generator
from codistill.data.sampler import Slots, replacement
from codistill.data.source import Source
from codistill.errors import DataError, StoreError
from codistill.types import BadImage


@dataclass(frozen=True)
class Request:
    """One rank's part of a step, at one image size; `ahead`: the slots that the same worker is asked for next, or None.

    The size is the side of squares, or rows and columns.
    """

    slots: Slots
    size: Size
    ahead: Slots | None = None


@dataclass(frozen=True)
class RawBatch:
    """A worker's result: pixels before normalization, and where they come from.

    Attributes:
        pixels: (batch, row, column, 3) uint8.
        packed: colour parameters that the device still has to apply, see `augment/device.py`; or None.
        source: for each image, the index of its source.
        names: for each image, its name in its source.
        bad: images that were replaced (or, in evaluation, left out).
        failure: why there is no batch; everything else is then empty.
        of_store: whether a store failed, not the images.
    """

    pixels: Tensor
    packed: Tensor | None
    source: tuple[int, ...]
    names: tuple[str, ...]
    bad: tuple[BadImage, ...] = ()
    failure: str = ""
    of_store: bool = False

    def pin_memory(self) -> "RawBatch":
        packed = None if self.packed is None else self.packed.pin_memory()
        return replace(self, pixels=self.pixels.pin_memory(), packed=packed)


class RequestedImages(ABC, torch.utils.data.Dataset[RawBatch]):
    """Maps requests to raw batches. Images are read ahead if possible; a store's error becomes the batch's failure."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = tuple(sources)

    @abstractmethod
    def batch(self, slots: Slots, size: Size) -> RawBatch:
        """Load the images of some slots, at a size."""

    def __getitem__(self, request: Request) -> RawBatch:
        _read_ahead(self.sources, request)
        try:
            return self.batch(request.slots, request.size)
        except StoreError as error:
            return _failed(str(error), of_store=True)


class TrainingImages(RequestedImages):
    """Maps requests to raw batches of augmented training images."""

    def __init__(
        self,
        sources: Sequence[Source],
        sizes: Sequence[SourceSize],
        augment: AugmentConfig,
        *,
        seed: int,
        max_attempts: int,
        max_pixels: int,
    ) -> None:
        super().__init__(sources)
        self.sizes = tuple(sizes)
        self.augment = augment
        self.seed = seed
        self.max_attempts = max_attempts
        self.max_pixels = max_pixels

    def batch(self, slots: Slots, size: Size) -> RawBatch:
        pixels = torch.empty(len(slots.slot), *rows_and_columns(size), 3, dtype=torch.uint8)
        filled, bad, params = pixels.numpy(), [], []
        chosen: list[tuple[int, str]] = []
        triples = zip(slots.slot.tolist(), slots.source.tolist(), slots.item.tolist(), strict=True)
        for row, (slot, source, item) in enumerate(triples):
            found = self._one(slots.step, slot, source, item, size, bad)
            if found is None:
                return _failed(self._failure(bad))
            filled[row], one, origin = found
            params.append(one)
            chosen.append(origin)
        packed = pack_params(params) if self.augment.implementation == "device" else None
        return RawBatch(pixels, packed, *_columns(chosen), tuple(bad))

    def _one(
        self, step: int, slot: int, source: int, item: int, size: Size, bad: list[BadImage]
    ) -> tuple[np.ndarray, AugmentParams, tuple[int, str]] | None:
        """Load the slot's image, or its first usable replacement; None after `max_attempts`."""
        domain = self.sizes[source].domain
        for attempt in range(self.max_attempts):
            if attempt:
                source, item = replacement(self.sizes, domain, self.seed, step, slot, attempt)
            name = self.sources[source].name_of(item)
            rng = generator(self.seed, AUGMENT, step, slot, attempt)
            try:
                crop, params = augment_image(
                    self.sources[source].read(item),
                    self.augment,
                    rng,
                    size,
                    turned=self.sources[source].rotated(item),
                    name=name,
                    max_pixels=self.max_pixels,
                )
            except DataError as error:
                bad.append(BadImage(self.sizes[source].name, name, str(error)))
            else:
                return crop, params, (source, name)
        return None

    def _failure(self, bad: Sequence[BadImage]) -> str:
        last = "\n".join(f"  {one.source}: {one.reason}" for one in bad[-min(5, self.max_attempts) :])
        return f"{self.max_attempts} images in a row could not be used; the last ones:\n{last}"


class EvaluationImages(RequestedImages):
    """Maps requests to raw batches of resized, centre-cropped images. Bad images are left out and listed."""

    def __init__(self, sources: Sequence[Source], *, max_pixels: int) -> None:
        super().__init__(sources)
        self.max_pixels = max_pixels

    def batch(self, slots: Slots, size: Size) -> RawBatch:
        rows, columns = rows_and_columns(size)
        assert rows == columns, "held-out images are squares"
        crops: list[np.ndarray] = []
        chosen: list[tuple[int, str]] = []
        bad: list[BadImage] = []
        for source, item in zip(slots.source.tolist(), slots.item.tolist(), strict=True):
            name = self.sources[source].name_of(item)
            try:
                image = self.sources[source].load_rgb(item, max_pixels=self.max_pixels)
                crop = evaluation_image(image, rows)
            except DataError as error:
                bad.append(BadImage(self.sources[source].config.name, name, str(error)))
            else:
                crops.append(crop)
                chosen.append((source, name))
        pixels = np.stack(crops) if crops else np.empty((0, rows, rows, 3), dtype=np.uint8)
        return RawBatch(torch.from_numpy(pixels), None, *_columns(chosen), tuple(bad))


def _columns(chosen: Sequence[tuple[int, str]]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    return tuple(source for source, _ in chosen), tuple(name for _, name in chosen)


def _failed(reason: str, *, of_store: bool = False) -> RawBatch:
    return RawBatch(torch.empty(0, 0, 0, 3, dtype=torch.uint8), None, (), (), (), reason, of_store)


def _read_ahead(sources: Sequence[Source], request: Request) -> None:
    """Start to read the images of this request, then those of the next one, from sources in a store."""
    for slots in (request.slots, request.ahead):
        if slots is None:
            continue
        for number, source in enumerate(sources):
            if source.reads_ahead:
                source.read_ahead(slots.item[slots.source == number].tolist())

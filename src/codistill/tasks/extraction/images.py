"""Images of a source in order, in batches of one square size; images that cannot be used keep their place.

A batch always has all requested images, so that batches do not depend on damaged ones. A damaged image becomes a black
picture, is named in `Batch.bad`, and is dropped before writing.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch

from codistill.data.augment import evaluation_image
from codistill.data.augment.draw import Size
from codistill.data.batches import Batches, Requests
from codistill.data.loader_config import LoaderConfig
from codistill.data.mixing import SourceSize
from codistill.data.sampler import Slots
from codistill.data.source import Source
from codistill.data.worker import RawBatch, Request, RequestedImages
from codistill.errors import DataError
from codistill.imaging import MAX_PIXELS, resize_rgb
from codistill.tasks.extraction.layout import Fit
from codistill.types import BadImage, Batch


class SquareImages(RequestedImages):
    """Turns requests into raw batches of exactly the requested images."""

    def __init__(self, source: Source, fit: Fit) -> None:
        super().__init__((source,))
        self.source, self.fit = source, fit

    def batch(self, slots: Slots, size: Size) -> RawBatch:
        assert isinstance(size, int), "these images are squares"
        items = slots.item.tolist()
        pixels = np.zeros((len(items), size, size, 3), dtype=np.uint8)
        names, bad = [], []
        for row, item in enumerate(items):
            names.append(self.source.name_of(item))
            try:
                image = self.source.load_rgb(item, max_pixels=MAX_PIXELS)
                square = (
                    evaluation_image(image, size) if self.fit == "crop" else resize_rgb(image, (size, size))
                )
            except DataError as error:
                bad.append(BadImage(self.source.config.name, names[-1], str(error)))
                continue
            pixels[row] = square
        return RawBatch(torch.from_numpy(pixels), None, (0,) * len(items), tuple(names), tuple(bad))


def image_batches(
    source: Source,
    ranges: Sequence[Sequence[int]],
    *,
    size: int,
    fit: Fit,
    workers: int | None,
    device: torch.device,
) -> Iterable[Batch]:
    """One batch per group of image numbers, in that order, on the device and ImageNet-normalized."""

    def request(number: int) -> Request:
        item = np.asarray(ranges[number], dtype=np.int64)
        return Request(Slots(number, item, np.zeros_like(item), item), size)

    loader = LoaderConfig(batch_size=max(map(len, ranges), default=1), image_size=size, num_workers=workers)
    sizes = [SourceSize(source.config.name, source.config.domain, len(source))]
    requests = Requests(request, range(len(ranges)))
    return Batches(SquareImages(source, fit), requests, sizes, None, loader, device)

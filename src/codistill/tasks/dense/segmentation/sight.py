"""Classes of every pixel from shared tokens; see `tasks/shared/seen.py`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import UInt8

from codistill.imaging.colours import label_picture, number_colours, overlay
from codistill.imaging.legends import legend_picture
from codistill.metrics.segmentation import IGNORE
from codistill.tasks.dense.resizing import resized
from codistill.tasks.dense.segmentation.model import ReleasedOn, Segmenter
from codistill.tasks.shared.seen import Answer, Seen
from codistill.tasks.task import Sight

LARGEST = 1024
"""Longer side in pixels at which classes are decided; for larger images the classes are upsampled (nearest pixel)."""

LISTED = 24
"""Number of classes in a legend, most frequent first."""

LEAST_SAID = 0.005
"""Smallest share of an image for which a class is named in a line of text: less would read 0 %."""


def shares_text(shares: Sequence[tuple[str, float]], most: int) -> str:
    """The `most` largest classes with their shares as text, without those that would read 0 %."""
    said = [(name, share) for name, share in shares[:most] if share >= LEAST_SAID] or shares[:1]
    return ", ".join(f"{name} {share:.0%}" for name, share in said)


@dataclass(frozen=True, repr=False)
class SegmentationAnswer(Answer):
    """Classes of an image's pixels.

    Attributes:
        classes: class number of each pixel.
        names: names of the classes, by number. palette: their colours, (class, 3).
    """

    classes: UInt8[np.ndarray, "row column"]
    names: tuple[str, ...]
    palette: UInt8[np.ndarray, "class 3"]

    @property
    def shares(self) -> dict[int, float]:
        """Share of the pixels by class number, most frequent first."""
        counts = np.bincount(self.classes.ravel(), minlength=256)[:IGNORE]
        return {
            int(number): float(counts[number]) / self.classes.size
            for number in counts.argsort(kind="stable")[::-1]
            if counts[number]
        }

    def draw(self, pixels: np.ndarray, like: Answer | None = None) -> np.ndarray:
        """The classes as colours over the image."""
        return overlay(pixels, label_picture(self.classes, len(self.names)))

    def text(self) -> str:
        return shares_text([(self.names[n], share) for n, share in self.shares.items()], most=4)

    def legend(self, width: int, like: Answer | None = None) -> np.ndarray:
        return legend_picture(self.names, list(self.shares)[:LISTED], width)

    def facts(self) -> Mapping[str, Any]:
        return {"classes": {self.names[number]: round(share, 6) for number, share in self.shares.items()}}

    def arrays(self) -> Mapping[str, np.ndarray]:
        return {"": self.classes}


@torch.inference_mode()
def answer(model: Segmenter, images: Sequence[Seen]) -> list[SegmentationAnswer]:
    """One answer per image."""
    return [_answer(model, seen) for seen in images]


def _answer(model: Segmenter, seen: Seen) -> SegmentationAnswer:
    patch, (rows, columns) = model.features.patch_size, seen.grid
    with model.autocast():
        logits = model.answer(seen.levels, (rows * patch, columns * patch))
    factor = min(1.0, LARGEST / max(seen.size))
    size = (max(1, round(seen.size[0] * factor)), max(1, round(seen.size[1] * factor)))
    scores = resized(logits.float(), size) if logits.shape[-2:] != size else logits
    classes = scores[0].argmax(0).to(torch.uint8).cpu().numpy()
    if size != seen.size:
        classes = cv2.resize(classes, seen.size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    return SegmentationAnswer(classes, model.classes, number_colours(len(model.classes)))


SIGHT = Sight(
    answer=answer,
    gives=SegmentationAnswer,
    size=lambda model: max(model.protocol.crop),
    options=ReleasedOn,
)

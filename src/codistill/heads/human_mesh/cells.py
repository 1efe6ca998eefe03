"""Cells of the token grid that contain a person's head, from the ground truth or by detection.

`PersonCells` lists the people of a whole batch in one flat row, so that nothing is computed for padding. Its `slot`
numbers the people of an image, for the attention among them.

Source: Multi-HMR (arXiv 2402.14654), section 3.2.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import max_pool2d

from codistill.errors import ConfigError
from codistill.nn.tracing import is_symbolic

DETECTION_THRESHOLD = 0.2
"""Threshold of the published training and evaluation."""


@dataclass(frozen=True)
class PersonCells:
    """Cells of the people in a batch, (person,) each; build it with `of`.

    Attributes:
        image: index of the image in the batch.
        row, column: row and column of the cell in the token grid.
        slot: number 0, 1, … among the people of the same image.
        slots: largest number of people in an image, at least 1. It is a number on the host, since shapes depend on it.
        present: which entries are people; None: all. The others are padding, to which nobody attends.
    """

    image: Int[Tensor, " person"]
    row: Int[Tensor, " person"]
    column: Int[Tensor, " person"]
    slot: Int[Tensor, " person"]
    slots: int
    present: Bool[Tensor, " person"] | None = None

    @classmethod
    def of(cls, image: Tensor, row: Tensor, column: Tensor) -> "PersonCells":
        """Make cells (person,) in any order. It synchronizes if the tensors are on a device: call it in the loader."""
        earlier = (image[:, None] == image[None, :]).tril(-1)
        slot = earlier.sum(1)
        return cls(image, row, column, slot, int(slot.max()) + 1 if len(slot) else 1)

    def __len__(self) -> int:
        return self.image.shape[0]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "PersonCells":
        tensors = (self.image, self.row, self.column, self.slot)
        image, row, column, slot = (tensor.to(device, non_blocking=non_blocking) for tensor in tensors)
        present = None if self.present is None else self.present.to(device, non_blocking=non_blocking)
        return PersonCells(image, row, column, slot, self.slots, present)


def score_from_logits(logits: Tensor) -> Tensor:
    """Detection scores of any shape in [1e-4, 1 - 1e-4], as published, in fp32."""
    return logits.float().sigmoid().clamp(1e-4, 1.0 - 1e-4)


def suppress_neighbours(
    scores: Float[Tensor, "batch row column"], kernel: int = 3
) -> Float[Tensor, "batch row column"]:
    """Keep scores that are the maximum of their kernel x kernel neighbourhood, ties included; others become 0."""
    if kernel < 1 or kernel % 2 == 0:
        raise ConfigError(
            f"the suppression kernel must be an odd number of cells, 1 for no suppression; got {kernel}"
        )
    highest = max_pool2d(scores[:, None], kernel, stride=1, padding=kernel // 2)[:, 0]
    return scores * (scores == highest)


def detect_people(
    scores: Float[Tensor, "batch row column"], threshold: float = DETECTION_THRESHOLD, kernel: int = 3
) -> PersonCells:
    """Detect cells whose score is a local maximum and at least `threshold`, in order of image, row and column.

    It synchronizes with the device once, since later shapes depend on the number of people, which may be 0.
    """
    kept = suppress_neighbours(scores, kernel) >= threshold
    image, row, column = kept.nonzero().unbind(-1)
    return PersonCells.of(image, row, column)


def detect_most(
    scores: Float[Tensor, "batch row column"],
    slots: int,
    threshold: float = DETECTION_THRESHOLD,
    kernel: int = 3,
) -> PersonCells:
    """As `detect_people`, with shapes that do not depend on the scores: `slots` cells per image.

    The people of an image come first, in order of row and column. If there are more than `slots`, those with the
    highest scores are kept. The other cells are not `present`.

    Raises:
        ValueError: if an image has fewer cells than `slots`.
    """
    batch, rows, columns = scores.shape
    if not is_symbolic(rows, columns) and slots > rows * columns:
        raise ValueError(f"{slots} people do not fit into {rows}x{columns} cells")
    suppressed = suppress_neighbours(scores, kernel).flatten(1)
    best, cell = suppressed.topk(slots, dim=1)  # (image, slot) each
    order = torch.where(best >= threshold, cell, cell + rows * columns).argsort(dim=1)  # absent ones last
    cell, best = cell.gather(1, order), best.gather(1, order)
    slot = torch.arange(slots, device=scores.device).expand(batch, slots)
    image = torch.arange(batch, device=scores.device)[:, None].expand(batch, slots)
    row = cell.div(columns, rounding_mode="floor")
    return PersonCells(
        image=image.flatten(),
        row=row.flatten(),
        column=(cell - row * columns).flatten(),
        slot=slot.flatten(),
        slots=slots,
        present=(best >= threshold).flatten(),
    )

"""Dense ground truth as stored next to cached features: files, encoding and decoding.

classes   target.u8    (view, row, column), 255 ignored
metres    target.u16   (view, row, column) in units of `unit` metres, 0 unknown
normals   target.i8    (view, row, column, 3) in units of 1/127, (0, 0, 0) unknown; error below 0.4 degrees
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

TargetKind = Literal["classes", "metres", "normals"]


@dataclass(frozen=True)
class StoredTarget:
    """How a kind of target is stored.

    Attributes:
        file: name of the file in the cache folder.
        dtype: number type in the file.
        store, read: convert values to stored numbers and back, given the metres per unit.
        parts: shape of one pixel's value, as further axes.
    """

    file: str
    dtype: type[np.generic]
    store: Callable[[Tensor, float], Tensor]
    read: Callable[[np.ndarray, float], Tensor]
    parts: tuple[int, ...] = ()


def _metres_in(metres: Tensor, unit: float) -> Tensor:
    return (metres / unit).round().clamp(0, 65535).to(torch.int32)


def _metres_out(numbers: np.ndarray, unit: float) -> Tensor:
    return torch.from_numpy((numbers.astype(np.float64) * unit).astype(np.float32))


def _normals_in(vectors: Tensor, _: float) -> Tensor:
    return (vectors * 127).round().to(torch.int8)


def _normals_out(numbers: np.ndarray, _: float) -> Tensor:
    return normalize(torch.from_numpy(numbers).float(), dim=-1)


STORED: dict[TargetKind, StoredTarget] = {
    "classes": StoredTarget(
        "target.u8", np.uint8, lambda classes, _: classes, lambda numbers, _: torch.from_numpy(numbers)
    ),
    "metres": StoredTarget("target.u16", np.uint16, _metres_in, _metres_out),
    "normals": StoredTarget("target.i8", np.int8, _normals_in, _normals_out, (3,)),
}

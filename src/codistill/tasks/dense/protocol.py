"""Protocol of a dense task's data set (how images are prepared), and a split that carries it."""

from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from codistill.errors import ConfigError
from codistill.tasks.layout import TaskData, Where
from codistill.tasks.shared.data import DenseData

Protocol = TypeVar("Protocol")


@dataclass(frozen=True, kw_only=True)
class DenseSplit(TaskData, Generic[Protocol]):
    """A split of a data set whose samples are `DenseSample`.

    Attributes:
        protocol: how the images are prepared.
    """

    protocol: Protocol


def opened(where: Where, samples: DenseData, protocol: Protocol) -> DenseSplit[Protocol]:
    """Make the split that a layout has opened."""
    return DenseSplit(spec=where.spec, split=where.split, samples=samples, protocol=protocol)


@dataclass(frozen=True, kw_only=True)
class CropProtocol:
    """Images at their own size; training uses random windows.

    Attributes:
        crop: rows and columns of training views.
        resized: rows and columns that images are first resized to, or None.
        steps: steps of a fit.
    """

    crop: tuple[int, int]
    resized: tuple[int, int] | None = None
    steps: int = 4000

    def __post_init__(self) -> None:
        if min(self.crop) < 1 or self.steps < 1:
            raise ConfigError(f"crop and steps must be positive; got {self}")

    def at_size(self, size: int) -> "CropProtocol":
        """The protocol for images resized to squares."""
        return replace(self, crop=(size, size), resized=(size, size))

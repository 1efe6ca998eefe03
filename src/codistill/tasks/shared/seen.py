"""What a head sees of an image beside others on the same pass of an encoder, and what it answers.

The whole image is brought to the encoder at one size for all heads, with its ratio kept up to whole patches; answers
are in the original image's own pixels.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from codistill.geometry.cameras import ImageFit
from codistill.types import Tokens


@dataclass(frozen=True)
class Seen:
    """An image and the tokens that one head reads.

    Attributes:
        pixels: (row, column, 3) uint8, upright, at its own size.
        levels: tokens of that image alone, as the head's features make them.
        name: for messages and files.
        path: of the file, which may know the focal length; None for pixels.
        focal: focal length in pixels of the image, if it was given.
    """

    pixels: UInt8[np.ndarray, "row column 3"]
    levels: tuple[Tokens, ...]
    name: str
    path: Path | None = None
    focal: float | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the image."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the tokens."""
        return self.levels[0].grid

    def fit(self, patch_size: int) -> ImageFit:
        """How the image was resized, for a head with so many pixels a token.

        A teacher's patches may be larger than the student's, whose projector predicts the teacher's tokens on its own
        grid: the head's image is then as many times larger.
        """
        rows, columns = self.grid[0] * patch_size, self.grid[1] * patch_size
        return ImageFit(original=self.size, resized=(rows, columns), cropped=(rows, columns), left=0, top=0)


class Answer(ABC):
    """What a head says of an image, or of several images together."""

    @abstractmethod
    def draw(
        self, pixels: UInt8[np.ndarray, "row column 3"], like: "Answer | None" = None
    ) -> UInt8[np.ndarray, "row2 column2 3"]:
        """A picture of it, over the image or in its place.

        Args:
            pixels: the image.
            like: an answer of the same head whose range of colours is kept, as between the frames of a video.
        """

    @abstractmethod
    def text(self) -> str:
        """A line that says it."""

    @abstractmethod
    def facts(self) -> Mapping[str, Any]:
        """JSON values, without large arrays."""

    @abstractmethod
    def arrays(self) -> Mapping[str, np.ndarray]:
        """The arrays, by the name that follows the head's; "" for the only one."""

    def legend(self, width: int, like: "Answer | None" = None) -> np.ndarray | None:
        """A strip (row, width, 3) uint8 that says what the picture's colours mean, if they need one."""
        del width, like
        return None

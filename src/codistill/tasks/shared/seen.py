"""Input and answer of a head that shares one encoder pass with other heads.

The whole image is resized to one size for all heads, with its aspect ratio kept up to whole patches. Answers are in
pixels of the original image.
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
        pixels: (row, column, 3) uint8, upright, at the original size.
        levels: tokens of this image alone, as the head's features define them.
        name: name of the image, for messages and files.
        path: path of the file, whose EXIF data may hold the focal length; None for pixels in memory.
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
        """Rows and columns of the token map."""
        return self.levels[0].grid

    def fit(self, patch_size: int) -> ImageFit:
        """How the image was resized, for a head whose tokens cover `patch_size` pixels.

        A teacher's patches may be larger than the student's, whose projector predicts the teacher's tokens on the
        student's grid. The head's image is then larger by that factor.
        """
        rows, columns = self.grid[0] * patch_size, self.grid[1] * patch_size
        return ImageFit(original=self.size, resized=(rows, columns), cropped=(rows, columns), left=0, top=0)


class Answer(ABC):
    """A head's answer for one image, or for several images together."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.text()})"

    @abstractmethod
    def draw(
        self, pixels: UInt8[np.ndarray, "row column 3"], like: "Answer | None" = None
    ) -> UInt8[np.ndarray, "row2 column2 3"]:
        """Draw the answer, over the image or in its place.

        Args:
            pixels: the image.
            like: an answer of the same head whose colour range is used, for example that of an earlier frame of a
                video.
        """

    @abstractmethod
    def text(self) -> str:
        """The answer as one line of text."""

    @abstractmethod
    def facts(self) -> Mapping[str, Any]:
        """The answer as JSON values, without large arrays."""

    @abstractmethod
    def arrays(self) -> Mapping[str, np.ndarray]:
        """The arrays of the answer, by the suffix that follows the head's name; "" if there is only one."""

    def legend(self, width: int, like: "Answer | None" = None) -> np.ndarray | None:
        """A strip (row, width, 3) uint8 that explains the colours of the picture, if they need one."""
        del width, like
        return None

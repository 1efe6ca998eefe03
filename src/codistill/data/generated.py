"""A source without files: procedural images that depend only on (source name, index).

For debug recipes and tests: textured rectangles and discs in front of a gradient, as PNG bytes that are decoded and
augmented like real images.
"""

import zlib

import cv2
import numpy as np

from codistill.data.source import Source, SourceConfig
from codistill.errors import ConfigError, DataError

SIDE = 96


class GeneratedSource(Source):
    """Procedural images; `path` is the number of images."""

    def __init__(self, config: SourceConfig) -> None:
        super().__init__(config)
        if not config.path.isdecimal():
            raise ConfigError(
                f"source {config.name!r}: the path of a generated source is its number of images; got {config.path!r}"
            )
        self._seed = zlib.crc32(config.name.encode())

    def __len__(self) -> int:
        return int(self.config.path)

    def name_of(self, index: int) -> str:
        return f"{index:06d}.png"

    def read(self, index: int) -> bytes:
        done, data = cv2.imencode(".png", _draw(np.random.default_rng([self._seed, index])))
        if not done:
            raise DataError(f"{self.config.name}: {self.name_of(index)} could not be encoded")
        return data.tobytes()

    def read_member(self, index: int, member: str) -> bytes:
        raise DataError(f"generated source {self.config.name!r} has no {member!r} beside its images")


def _draw(rng: np.random.Generator) -> np.ndarray:
    """Draw one image (row, column, 3) uint8."""
    height, width = SIDE, int(rng.integers(SIDE, 2 * SIDE))
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    start, end = rng.uniform(0, 255, (2, 3))
    ramp = (rows / height if rng.random() < 0.5 else columns / width)[..., None]
    image = start + (end - start) * ramp
    for _ in range(int(rng.integers(2, 6))):
        y, x = rng.uniform(0, height), rng.uniform(0, width)
        tall, wide = rng.uniform(8, height / 2, 2)
        if rng.random() < 0.5:
            inside = (np.abs(rows - y) < tall) & (np.abs(columns - x) < wide)
        else:
            inside = ((rows - y) / tall) ** 2 + ((columns - x) / wide) ** 2 < 1
        angle, period = rng.uniform(0, np.pi), rng.uniform(3, 12)
        stripes = np.sin((rows * np.cos(angle) + columns * np.sin(angle)) * 2 * np.pi / period)
        first, second = rng.uniform(0, 255, (2, 3))
        image[inside] = np.where(stripes[..., None] > 0, first, second)[inside]
    image += rng.normal(0, 4, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)

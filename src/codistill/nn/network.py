"""Configuration of a convolutional or hybrid encoder in a weights file: the network's name in timm, and its sizes."""

from dataclasses import dataclass
from typing import ClassVar

from codistill.errors import ConfigError, check_least


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """A network of timm whose last feature map is the patches, and whose class token is their mean.

    Attributes:
        model: its name in timm.
        dim: channels of the map.
        patch_size: pixels per cell of the map along each axis.
        image_size: side of the square images it was trained at, in pixels.
    """

    model: str
    dim: int
    patch_size: int
    image_size: int

    depth: ClassVar[int] = 1
    """Number of blocks whose tokens it gives: one, its last map."""
    has_cls: ClassVar[bool] = True
    num_registers: ClassVar[int] = 0

    def __post_init__(self) -> None:
        check_least(self, "dim", "patch_size", "image_size")
        if not self.model:
            raise ConfigError("a network needs timm's name of it")
        if self.image_size % self.patch_size:
            near = max(1, round(self.image_size / self.patch_size)) * self.patch_size
            raise ConfigError(
                f"image_size {self.image_size} is not a multiple of the {self.patch_size} pixels per token of "
                f"{self.model}; nearest: {near}"
            )

    @property
    def num_heads(self) -> int:
        """Attention heads of a transformer projector on it: about one per 64 channels, as in vision transformers."""
        return next(heads for heads in range(max(1, self.dim // 64), 0, -1) if self.dim % heads == 0)

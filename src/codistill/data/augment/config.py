"""The options of augmentation: ranges and probabilities."""

from dataclasses import dataclass, field
from typing import Literal

from codistill.errors import ConfigError, unknown_name

IMPLEMENTATIONS = ("fast", "reference", "device")


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """The published augmentation, in the order of the attributes. `plain()` turns off everything but crop and flip.

    Attributes:
        scale, ratio: random resized crop: range of its share of the image's area, and of width / height.
        flip: probability of a horizontal flip.
        jitter: probability of colour jitter. It applies, in random order, brightness, contrast and saturation by a
            factor from 1 - x to 1 + x, and a hue shift from -x to x turns.
        brightness, contrast, saturation, hue: these x.
        grayscale: probability of removing all colour.
        blur: probability of a Gaussian blur with a kernel of `blur_kernel` pixels and a sigma drawn from `blur_sigma`.
        blur_kernel, blur_sigma: see `blur`.
        solarize: probability of inverting all pixels of at least `solarize_threshold` (of 1).
        solarize_threshold: see `solarize`.
        implementation: `fast`, `reference` or `device`.
        reduced_decoding: decode JPEGs at 1/2, 1/4 or 1/8 of their size if the crop is then still as large as the
            output.
    """

    scale: tuple[float, float] = (0.4, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    jitter: float = 0.8
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.2
    hue: float = 0.1
    grayscale: float = 0.2
    blur: float = 0.2
    blur_kernel: int = 9
    blur_sigma: tuple[float, float] = (0.1, 5.0)
    solarize: float = 0.2
    solarize_threshold: float = 0.5
    implementation: Literal["fast", "reference", "device"] = field(
        default="fast", metadata={"changeable": True}
    )
    reduced_decoding: bool = True

    def __post_init__(self) -> None:
        if self.implementation not in IMPLEMENTATIONS:
            raise ConfigError(unknown_name("augmentation", str(self.implementation), IMPLEMENTATIONS))
        for name in ("flip", "jitter", "grayscale", "blur", "solarize", "solarize_threshold"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"augmentation: {name} must be from 0 to 1; got {getattr(self, name)}")
        for name in ("brightness", "contrast", "saturation"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"augmentation: {name} must be from 0 to 1; got {getattr(self, name)}")
        if not 0 <= self.hue <= 0.5:
            raise ConfigError(f"augmentation: hue must be from 0 to 0.5 turns; got {self.hue}")
        for name, most in (("scale", 1.0), ("ratio", float("inf")), ("blur_sigma", float("inf"))):
            low, high = getattr(self, name)
            if not 0 < low <= high <= most:
                raise ConfigError(
                    f"augmentation: {name} must be (low, high), positive, at most {most}; got {low, high}"
                )
        if self.blur_kernel < 1 or self.blur_kernel % 2 == 0:
            raise ConfigError(f"augmentation: blur_kernel must be odd and positive; got {self.blur_kernel}")

    @classmethod
    def plain(cls, scale: tuple[float, float] = (0.4, 1.0)) -> "AugmentConfig":
        """Only the random crop and the flip."""
        return cls(scale=scale, jitter=0.0, grayscale=0.0, blur=0.0, solarize=0.0)

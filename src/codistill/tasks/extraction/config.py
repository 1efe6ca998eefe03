"""Config of an extraction: which features of which images are stored, and how."""

from dataclasses import dataclass, field
from typing import Literal

from codistill.errors import ConfigError
from codistill.nn.precision import Precision
from codistill.tasks.extraction.layout import Fit
from codistill.tasks.shared.features import FeatureConfig


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """What an extraction stores.

    Attributes:
        features: encoder and blocks; several blocks are stored side by side.
        size: square side in pixels, rounded to whole patches.
        fit: `crop`: the central square of an image; `stretch`: all of it.
        kinds: `patch`, `cls` or `patch+cls`, as far as the encoder has them.
        dtype: number type of the files.
        precision: precision of the encoder; `auto`: bf16 on a GPU; `fast`: also on a CPU where it is faster.
        batch_size: images per batch.
        shard_images: images per shard; None: about 1 GiB.
        limit: number of images, from the first; None: all.
    """

    features: FeatureConfig = field(default_factory=FeatureConfig)
    size: int = 448
    fit: Fit = "crop"
    kinds: str = "patch+cls"
    dtype: Literal["fp16", "bf16", "fp32"] = "fp16"
    precision: Precision = "auto"
    batch_size: int = 16
    shard_images: int | None = None
    limit: int | None = None

    def __post_init__(self) -> None:
        for name in ("size", "batch_size", "shard_images", "limit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"--{name.replace('_', '-')} must be positive; got {value}")
        if not set(self.kinds.split("+")) <= {"patch", "cls"}:
            raise ConfigError(f"--kinds must be patch, cls or patch+cls; got {self.kinds}")

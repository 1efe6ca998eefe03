"""Convert raw head channels to points, confidences and unit descriptors.

A point has the direction of its raw vector and the distance expm1(length of the raw vector). A confidence is a floor
plus an exponential.
Source: MASt3R's published model (depth mode `exp`, confidence mode `exp` from 1, descriptor confidence from 0).
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from codistill.errors import ConfigError, unknown_name

_MIN_NORM = 1e-8


@dataclass(frozen=True, kw_only=True)
class ConfidenceMode:
    """How a raw channel becomes a confidence.

    Attributes:
        kind: `exp`: low + exp(x), at most `high`; `sigmoid`: between `low` and `high`.
        low, high: bounds.
    """

    kind: Literal["exp", "sigmoid"] = "exp"
    low: float = 1.0
    high: float = math.inf

    def __post_init__(self) -> None:
        if self.kind not in ("exp", "sigmoid"):
            raise ConfigError(unknown_name("confidence mode", self.kind, ("exp", "sigmoid")))
        if not self.low < self.high or math.isinf(self.low):
            raise ConfigError(
                f"a confidence needs low < high and a finite low; got {self.low} and {self.high}"
            )
        if self.kind == "sigmoid" and math.isinf(self.high):
            raise ConfigError("a sigmoid confidence needs a finite high")

    def __call__(self, raw: Tensor) -> Tensor:
        """Confidences of raw values, any shape."""
        if self.kind == "exp":
            grown = raw.exp()
            return self.low + (grown if math.isinf(self.high) else grown.clamp(max=self.high - self.low))
        return self.low + (self.high - self.low) * torch.sigmoid(raw)


def raw_to_points(raw: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """Points from raw vectors: x / max(|x|, 1e-8) * expm1(|x|)."""
    distance = raw.norm(dim=-1, keepdim=True)
    return raw / distance.clamp(min=_MIN_NORM) * torch.expm1(distance)


def raw_to_descriptors(raw: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch channel"]:
    """Normalize raw vectors to unit length."""
    return normalize(raw, dim=-1)

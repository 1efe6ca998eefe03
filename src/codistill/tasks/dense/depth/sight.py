"""Depth of every pixel from shared tokens; see `tasks/shared/seen.py`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from codistill.imaging.colours import depth_picture, depth_range
from codistill.imaging.legends import depth_bar
from codistill.tasks.dense.depth.model import DepthEstimator, ReleasedOn
from codistill.tasks.shared.seen import Answer, Seen
from codistill.tasks.task import Sight


@dataclass(frozen=True, repr=False)
class DepthAnswer(Answer):
    """Depth along the camera's optical axis in metres, fp32; NaN where there is no answer."""

    metres: Float[np.ndarray, "row column"]

    def draw(self, pixels: np.ndarray, like: Answer | None = None) -> np.ndarray:
        """The depth as colours, from near (warm) to far (cold)."""
        del pixels
        return depth_picture(self.metres, *self._range(like))

    def _range(self, like: Answer | None) -> tuple[float, float]:
        return depth_range(like.metres if isinstance(like, DepthAnswer) else self.metres)

    def text(self) -> str:
        near, _, far = self._percentiles()
        return f"{near:.2f} m to {far:.2f} m"

    def legend(self, width: int, like: Answer | None = None) -> np.ndarray:
        return depth_bar(*self._range(like), width)

    def facts(self) -> Mapping[str, Any]:
        near, middle, far = self._percentiles()
        return {"nearest": round(near, 4), "farthest": round(far, 4), "median": round(middle, 4)}

    def _percentiles(self) -> tuple[float, float, float]:
        """The 1st, 50th and 99th; the range of the colours is wider where the depth is nearly the same everywhere."""
        near, middle, far = (float(value) for value in np.nanpercentile(self.metres, [1, 50, 99]))
        return near, middle, far

    def arrays(self) -> Mapping[str, np.ndarray]:
        return {"": self.metres}


@torch.inference_mode()
def answer(model: DepthEstimator, images: Sequence[Seen]) -> list[DepthAnswer]:
    """One answer per image."""
    with model.autocast():
        found = [model.answer(seen.levels, seen.size)[0, 0] for seen in images]
    return [DepthAnswer(metres.float().cpu().numpy()) for metres in found]


SIGHT = Sight(
    answer=answer,
    gives=DepthAnswer,
    size=lambda model: max(model.protocol.resized or model.protocol.crop),
    options=ReleasedOn,
)

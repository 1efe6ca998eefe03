"""Surface normals of every pixel from shared tokens; see `tasks/shared/seen.py`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from codistill.imaging.normals import normals_picture
from codistill.tasks.dense.normals.model import NormalsEstimator
from codistill.tasks.shared.seen import Answer, Seen
from codistill.tasks.task import Sight


@dataclass(frozen=True, repr=False)
class NormalsAnswer(Answer):
    """Unit normals towards the camera, fp32, in the camera frame (x right, y down, z forward)."""

    normals: Float[np.ndarray, "row column 3"]

    @property
    def tilt(self) -> float:
        """Mean angle between surfaces and the image plane, degrees."""
        return float(np.degrees(np.arccos(np.clip(-self.normals[..., 2], -1, 1)).mean()))

    def draw(self, pixels: np.ndarray, like: Answer | None = None) -> np.ndarray:
        """The normals in the usual colours: red right, green up, blue towards the viewer."""
        del pixels, like
        return normals_picture(self.normals)

    def text(self) -> str:
        return f"turned from the camera by {self.tilt:.0f}° in the mean"

    def facts(self) -> Mapping[str, Any]:
        return {"tilt": round(self.tilt, 3)}

    def arrays(self) -> Mapping[str, np.ndarray]:
        return {"": self.normals}


@torch.inference_mode()
def answer(model: NormalsEstimator, images: Sequence[Seen]) -> list[NormalsAnswer]:
    """One answer per image."""
    with model.autocast():
        found = [model.answer(seen.levels, seen.size)[0] for seen in images]
    return [NormalsAnswer(normals.movedim(0, -1).float().cpu().numpy()) for normals in found]


SIGHT = Sight(
    answer=answer, gives=NormalsAnswer, size=lambda model: max(model.protocol.resized or model.protocol.crop)
)

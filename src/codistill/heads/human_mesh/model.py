"""An encoder with a human-mesh head: from images and intrinsics to people.

A frozen encoder gets no gradient and stays in evaluation mode. The body model is separate: `place.place_people` turns
predictions into bodies.
"""

from jaxtyping import Float
from torch import Tensor

from codistill.heads.human_mesh.cells import DETECTION_THRESHOLD, PersonCells
from codistill.heads.human_mesh.network import HumanMeshHead
from codistill.heads.human_mesh.prediction import HumanMeshOutput
from codistill.heads.with_encoder import EncoderWithHead


class HumanMeshModel(EncoderWithHead[HumanMeshHead]):
    """An encoder and a `HumanMeshHead` that fits it."""

    kind = "human-mesh"

    def forward(
        self,
        images: Float[Tensor, "batch 3 row column"],
        intrinsics: Float[Tensor, "batch 3 3"],
        cells: PersonCells | None = None,
        *,
        threshold: float = DETECTION_THRESHOLD,
        kernel: int = 3,
    ) -> HumanMeshOutput:
        """Scores of all cells, and people at the given cells or at detected ones.

        Args:
            images: ImageNet-normalized; sides are multiples of the patch size.
            intrinsics: in pixels of these images, pixel centres at integers.
            cells, threshold, kernel: see `HumanMeshHead`.
        """
        return self.head(self.encode(images), intrinsics, cells, threshold=threshold, kernel=kernel)

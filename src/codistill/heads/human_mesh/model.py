"""An encoder with a human-mesh head: images and intrinsics in, people out.

A frozen encoder gets no gradient and stays in evaluation mode. The body model is separate: `place.place_people` turns
predictions into bodies.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from codistill.encoders.base import Encoder
from codistill.errors import ConfigError
from codistill.heads.human_mesh.cells import DETECTION_THRESHOLD, PersonCells
from codistill.heads.human_mesh.network import HumanMeshHead
from codistill.heads.human_mesh.prediction import HumanMeshOutput
from codistill.types import Tokens


class HumanMeshModel(nn.Module):
    """An encoder and a `HumanMeshHead` that fits it.

    Args:
        encoder: any encoder; its width and patch size must be those of the head.
        head: detection and cross-attention head.
        freeze_encoder: no gradients, evaluation mode.

    Raises:
        ConfigError: if the two do not fit.
    """

    def __init__(self, encoder: Encoder, head: HumanMeshHead, *, freeze_encoder: bool = True) -> None:
        super().__init__()
        spec, config = encoder.spec, head.config
        if (spec.dim, spec.patch_size) != (config.encoder_dim, config.patch_size):
            raise ConfigError(
                f"the human-mesh head was made for an encoder of {config.encoder_dim} channels and patch size "
                f"{config.patch_size}; {spec.name} has {spec.dim} channels and patch size {spec.patch_size}. Use the "
                "encoder that the head was trained on, or start a new head from it (see load.initialize)."
            )
        self.encoder, self.head, self.freeze_encoder = encoder, head, freeze_encoder
        encoder.requires_grad_(not freeze_encoder)
        if freeze_encoder:
            encoder.eval()

    def train(self, mode: bool = True) -> "HumanMeshModel":
        """As `nn.Module.train`, but a frozen encoder stays in evaluation mode."""
        super().train(mode)
        if self.freeze_encoder:
            self.encoder.eval()
        return self

    def encode(self, images: Float[Tensor, "batch 3 row column"]) -> Tokens:
        """Tokens as the head wants them, of ImageNet-normalized images."""
        norm = not self.head.config.fresh_norm
        if self.freeze_encoder:
            with torch.no_grad():
                return self.encoder(images, norm=norm)
        return self.encoder(images, norm=norm)

    def forward(
        self,
        images: Float[Tensor, "batch 3 row column"],
        intrinsics: Float[Tensor, "batch 3 3"],
        cells: PersonCells | None = None,
        *,
        threshold: float = DETECTION_THRESHOLD,
        kernel: int = 3,
    ) -> HumanMeshOutput:
        """Scores of all cells, and people at the given cells or at those detected.

        Args:
            images: ImageNet-normalized; sides are multiples of the patch size.
            intrinsics: in pixels of these images, pixel centres at integers.
            cells, threshold, kernel: see `HumanMeshHead`.
        """
        return self.head(self.encode(images), intrinsics, cells, threshold=threshold, kernel=kernel)

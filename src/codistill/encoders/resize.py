"""A vision transformer at another native size: same weights, positional embedding resized.

This is how the second stage of DUNE starts at 448 from the first one's 336, and how any released encoder is
trained on at another size. Bicubic, by size (no offset), align_corners=False.
"""

from dataclasses import replace

import torch

from codistill.encoders.vit import ViTEncoder
from codistill.nn.position import resize_position_embedding


@torch.no_grad()
def at_image_size(encoder: ViTEncoder, image_size: int) -> ViTEncoder:
    """A copy of an encoder whose native square size is `image_size` pixels (a multiple of the patch size).

    Raises:
        ConfigError: if it is not.
    """
    config = replace(encoder.config, image_size=image_size)
    spec = encoder.spec
    resized = ViTEncoder(
        config, name=spec.name, licence=spec.licence, mean=tuple(spec.mean), std=tuple(spec.std)
    )
    tensors = encoder.state_dict()
    if config.position == "learned":
        side = image_size // config.patch_size
        tensors["pos_embed"] = resize_position_embedding(
            tensors["pos_embed"], (side, side), num_prefix=config.num_prefix, offset=None
        )
    resized.load_state_dict(tensors)
    return resized.to(next(encoder.parameters()).device)

"""Attention maps of the class token in a block; nearest patches between two images."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from codistill.encoders.vit import TransformerEncoder
from codistill.errors import ConfigError
from codistill.types import Tokens


@torch.inference_mode()
def cls_attention(
    encoder: TransformerEncoder, images: Float[Tensor, "batch 3 row column"], block: int = -1
) -> Float[Tensor, "batch head row column"]:
    """Attention of the class token to the patches of ImageNet-normalized images, per head, in one block.

    The values of a head sum to less than 1: the rest falls on the class token and the registers. For an encoder without
    a class token, the mean over all patches as queries is returned.

    Raises:
        ConfigError: for an encoder that is not one of codistill's vision transformers.
    """
    if not isinstance(encoder, TransformerEncoder):
        raise ConfigError(f"attention maps need one of our vision transformers; got {type(encoder).__name__}")
    from_encoder = encoder.attention_map(encoder.own_normalization(images), block)
    config = encoder.config
    skip = config.num_prefix + config.num_registers
    rows, columns = encoder.grid_of(images)
    over_patches = from_encoder[:, :, :, skip:]
    query = over_patches[:, :, 0] if config.has_cls else over_patches.mean(2)
    return query.unflatten(2, (rows, columns))


def nearest_patches(
    first: Tokens, second: Tokens
) -> tuple[Int[Tensor, "batch patch"], Float[Tensor, "batch patch"]]:
    """For every patch of the first images, find the most similar patch of the second: index and cosine similarity."""
    a = torch.nn.functional.normalize(first.patches.float(), dim=-1)
    b = torch.nn.functional.normalize(second.patches.float(), dim=-1)
    similarity, index = (a @ b.transpose(1, 2)).max(dim=2)
    return index, similarity

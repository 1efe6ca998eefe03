"""Initialize a two-view head: from a seed, from a released decoder, or from a fitted head."""

from dataclasses import replace

import torch

from codistill.encoders.base import Encoder
from codistill.heads.two_view.load import initialize
from codistill.heads.two_view.network import TwoViewConfig, TwoViewHead, ViewHead
from codistill.nn.seeded import seeded
from codistill.tasks.shared.config import Runtime
from codistill.tasks.two_view.config import TwoViewFit
from codistill.tasks.two_view.head import decoder_shape, init_file
from codistill.weights.read import read_checkpoint

_PIXEL_SPREAD = 0.1
"""Spread of the initial weights over the pixels of a patch, relative to their common weights."""


def fresh_head(config: TwoViewFit, encoder: Encoder, runtime: Runtime) -> TwoViewHead:
    """The head before training: seeded, or started from a released decoder (unused tensors are logged).

    Raises:
        CheckpointError: if the file to start from does not fit.
    """
    spec = encoder.spec
    shape = config.shape.on(spec.dim, spec.patch_size)
    if config.init is not None and (found := decoder_shape(config.init)) is not None:
        shape = _like(found, shape)
    with seeded(config.seed):
        head = TwoViewHead(shape)
    _start_alike(head)
    if config.init is not None:
        path = init_file(config.init)
        result = initialize(head, path, read_checkpoint(path))
        runtime.say(
            f"{config.init}: {len(result.loaded)} tensors taken, {len(result.fresh)} newly initialized, "
            f"{len(result.unused)} unused"
        )
        for name, reason in result.fresh.items():
            runtime.say(f"  new: {name} ({reason})")
    return head


@torch.no_grad()
def _start_alike(head: TwoViewHead) -> None:
    """Initialize both views' branches and heads with equal weights, and all pixels of a patch with nearly equal ones.

    Descriptors of one place are then similar from the start. With independent random weights, those of the two views
    are unrelated directions, where the matching loss is flat: a thousand steps did not leave that plateau.
    """
    first, second = head.heads
    assert isinstance(first, ViewHead) and isinstance(second, ViewHead)
    head.blocks2.load_state_dict(head.blocks1.state_dict())
    if head.config.descriptor_dim:
        last = first.local.fc2
        weight = last.weight.unflatten(0, (-1, head.config.patch_size**2))
        weight.copy_(weight[:, :1] + _PIXEL_SPREAD * weight)
        bias = last.bias.unflatten(0, (-1, head.config.patch_size**2))
        bias.copy_(bias[:, :1] + _PIXEL_SPREAD * bias)
    second.load_state_dict(first.state_dict())


def _like(found: TwoViewConfig, shape: TwoViewConfig) -> TwoViewConfig:
    """A released architecture on another encoder; the width of its descriptor head follows from the encoder."""
    fits = found.encoder_dim == shape.encoder_dim and found.patch_size == shape.patch_size
    return replace(
        found,
        encoder_dim=shape.encoder_dim,
        patch_size=shape.patch_size,
        fresh_norm=True,
        local_hidden=found.local_hidden if fits else None,
        descriptor_dim=found.descriptor_dim or shape.descriptor_dim,
        own_descriptor_confidence=True,
    )

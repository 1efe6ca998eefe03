"""Train an encoder together with its head: which encoders, at which learning rate, and where the result is saved.

The published trainings of Multi-HMR (arXiv 2402.14654) and MASt3R (arXiv 2406.09756) train both. The trained encoder is
exported to HEAD/encoder. head.json names this export, so the head loads with it.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from codistill.encoders.base import Encoder
from codistill.encoders.frozen import FrozenViTEncoder
from codistill.encoders.vit import ViTEncoder
from codistill.engine.optim import OptimConfig
from codistill.errors import ConfigError
from codistill.tasks.shared.head_files import OWN_ENCODER
from codistill.weights.contents import EncoderWeights
from codistill.weights.export import write_export

PREFIX = "encoder."
"""Prefix of the encoder's parameters in a module that holds encoder and head."""


def unfrozen(encoder: Encoder, named: str) -> ViTEncoder:
    """Make an encoder trainable in place; its stochastic depth is active during training.

    Args:
        encoder: the loaded encoder.
        named: the encoder as the user gave it.

    Raises:
        ConfigError: if it is not one of codistill's own vision transformers, since no other can be saved.
    """
    if isinstance(encoder, FrozenViTEncoder):
        raise ConfigError(
            f"{named} cannot be unfrozen: in precision={encoder.precision} it has no gradients. Name it without a "
            "precision, or leave out --unfreeze"
        )
    if not isinstance(encoder, ViTEncoder):
        raise ConfigError(
            f"{named} cannot be unfrozen: a {type(encoder).__name__} cannot be saved as an export. Vision transformers "
            "that codistill reads itself can: a weights file, a run, an export, a known name, random:SIZE. Leave out "
            "--unfreeze, or give one of these"
        )
    return encoder.requires_grad_(True)


def with_encoder_scale(optim: OptimConfig, scale: float) -> OptimConfig:
    """Multiply the encoder's learning rate by `scale` in the optimizer's config."""
    return optim if scale == 1.0 else replace(optim, lr_scales=(*optim.lr_scales, (PREFIX, scale)))


def write_unfrozen(head: Path, encoder: ViTEncoder, *, named: str, task: str, command: Sequence[str]) -> str:
    """Write a trained encoder into its head's folder.

    Args:
        head: the head's folder.
        encoder: the trained encoder.
        named: the untrained encoder as the user gave it.
        task: task of the head.
        command: the command line, for provenance.

    Returns:
        Its place, for head.json.

    Raises:
        CheckpointError: if it cannot be written.
    """
    spec = encoder.spec
    made: dict[str, Any] = {"fit": task, "from": named, "command": list(command)}
    weights = EncoderWeights(
        config=encoder.config,
        tensors=encoder.state_dict(),
        layout=f"codistill fit {task}",
        name=f"{spec.name} trained for {task}",
        mean=tuple(spec.mean),
        std=tuple(spec.std),
        licence=spec.licence,
        extra={"recipe": made},
    )
    write_export(head / OWN_ENCODER, weights, overwrite=True)
    return OWN_ENCODER

"""Whether a file that was found by the name of known weights holds a network of their size."""

from pathlib import Path

from codistill.errors import CheckpointError
from codistill.nn.vit_config import ViTConfig, vit_config
from codistill.weights.contents import EncoderWeights
from codistill.weights.known import KnownWeights


def check_size(weights: EncoderWeights, known: KnownWeights, file: Path) -> None:
    """Check that a file that was found by a known name holds a network of the name's size.

    Raises:
        CheckpointError: if it does not.
    """
    named, found = vit_config(known.size_name), weights.config
    if isinstance(found, ViTConfig) and (found.dim, found.depth) != (named.dim, named.depth):
        raise CheckpointError(
            f"{file}: holds a network of {found.depth} blocks of width {found.dim}; {known.name} has {named.depth} of "
            f"width {named.dim}. It is another model under this name: give its path, or rename it."
        )

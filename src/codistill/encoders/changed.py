"""Apply options that change an encoder before it is built: its native size, windowed attention."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from codistill.errors import ConfigError
from codistill.nn.network import NetworkConfig
from codistill.weights.contents import EncoderWeights


def changed(weights: EncoderWeights, options: Mapping[str, Any]) -> EncoderWeights:
    """Apply the options of `options.CHANGES` to weights.

    Raises:
        ConfigError: for a size that is not a multiple of the patch size, windows of a network without attention, or an
            option without effect.
    """
    if (size := options.get("image_size")) is not None:
        weights = weights.at_image_size(size)
    window = {key: options[key] for key in ("window", "num_global") if key in options}
    if not window:
        return weights
    config = weights.config
    if isinstance(config, NetworkConfig):
        raise ConfigError(
            f"{weights.name}: windows are of vision transformers; this is timm's {config.model}"
        )
    if "window" not in window and not config.window:
        raise ConfigError(
            f"{weights.name}: num_global would have no effect without window=N, tokens per side"
        )
    return replace(weights, config=replace(config, **window))

"""The encoder's architecture in codistill's JSON files: a `ViTConfig`, or the `NetworkConfig` of a timm network."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from codistill.errors import CheckpointError, ConfigError, unknown_name
from codistill.nn.network import NetworkConfig
from codistill.nn.vit import ViTConfig
from codistill.weights.layout_vit import check_vit
from codistill.weights.state import StateDict

TYPES: dict[str, type[ViTConfig] | type[NetworkConfig]] = {"vit": ViTConfig, "timm": NetworkConfig}
"""Configuration classes by the JSON entry `type`; files without that entry hold a vision transformer."""


def architecture_fields(config: ViTConfig | NetworkConfig) -> dict[str, Any]:
    """A configuration as plain data, with its type."""
    name = next(name for name, kind in TYPES.items() if isinstance(config, kind))
    return {"type": name, **asdict(config)}


def config_from_fields(values: Mapping[str, Any], where: str) -> ViTConfig | NetworkConfig:
    """Read the configuration in one of codistill's JSON files.

    Raises:
        CheckpointError: for an unknown type, or an unknown, missing or wrong field.
    """
    name = str(values.get("type", "vit"))
    if name not in TYPES:
        raise CheckpointError(f"{where}: {unknown_name('type of architecture', name, TYPES)}")
    allowed = {field.name for field in fields(TYPES[name])}
    unknown = sorted(set(values) - allowed - {"type"})
    if unknown:
        raise CheckpointError(
            f"{where}: unknown architecture fields {', '.join(unknown)}; allowed: {', '.join(sorted(allowed))}. "
            "A newer version of codistill may have written it: upgrade."
        )
    try:
        return TYPES[name](**{key: value for key, value in values.items() if key != "type"})
    except (ConfigError, TypeError) as error:
        raise CheckpointError(f"{where}: wrong architecture: {error}") from error


def check_encoder(state: StateDict, config: ViTConfig | NetworkConfig, chunked: bool = False) -> None:
    """Check that a file has exactly the tensors of a vision transformer, and only finite values.

    Names and shapes of networks of timm are not checked here but when they are loaded.

    Raises:
        CheckpointError: if names or shapes differ, or values are not finite; the text says where.
    """
    if isinstance(config, ViTConfig):
        check_vit(state, config, chunked)
    else:
        state.check_values()

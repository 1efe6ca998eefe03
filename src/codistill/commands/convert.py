"""`codistill convert WHAT --out DIR`: converts any known layout to encoder.safetensors + config.json (+ projectors)."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from codistill.commands.parsers.convert import parse
from codistill.encoders.changed import changed
from codistill.encoders.options import as_options, split_options, stated_of
from codistill.errors import ConfigError
from codistill.weights.cache import named_weights
from codistill.weights.contents import EncoderWeights, StudentWeights
from codistill.weights.export import write_export
from codistill.weights.known import find_known
from codistill.weights.layouts import read_weights
from codistill.weights.licences import restated


def main(argv: list[str]) -> int:
    """Convert a file, run, export or known name into an export folder; returns 0.

    Raises:
        CodistillError: if it cannot be read, or the folder cannot be written.
    """
    arguments = parse(argv)
    exists = Path(arguments.what).expanduser().exists()
    text, options = (arguments.what, {}) if exists else split_options(arguments.what)
    sizes = {"num_heads": arguments.num_heads, "image_size": arguments.image_size}
    options |= as_options(sizes, **sizes)
    known = None if Path(text).expanduser().exists() else find_known(text)
    if known is not None and known.content == "two-view decoder":
        raise ConfigError(f"{known.name} is a two-view decoder: only encoders and students are converted")
    weights = read_weights(named_weights(text), stated=stated_of(options))
    if arguments.encoder_only:
        if not isinstance(weights, StudentWeights):
            raise ConfigError(f"{text} has no projectors to leave out: drop --encoder-only")
        weights = weights.encoder
    weights = _adjusted(weights, options, arguments.licence, arguments.name)
    folder = write_export(arguments.out, weights, overwrite=arguments.overwrite)
    encoder = weights.encoder if isinstance(weights, StudentWeights) else weights
    teachers = f", {len(weights.projectors)} projectors" if isinstance(weights, StudentWeights) else ""
    print(f"{folder}: {encoder.name} ({encoder.layout}), {encoder.num_parameters:,} parameters{teachers}")
    print(f"licence: {encoder.licence}")
    return 0


def _adjusted(
    weights: EncoderWeights | StudentWeights,
    options: Mapping[str, Any],
    licence: str | None,
    name: str | None,
) -> EncoderWeights | StudentWeights:
    encoder = weights.encoder if isinstance(weights, StudentWeights) else weights
    encoder = changed(encoder, options)
    encoder = replace(encoder, licence=restated(encoder.licence, licence), name=name or encoder.name)
    return replace(weights, encoder=encoder) if isinstance(weights, StudentWeights) else encoder

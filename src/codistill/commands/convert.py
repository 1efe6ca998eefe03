"""`codistill convert WHAT --out DIR`: any known layout to encoder.safetensors + config.json (+ projectors)."""

import argparse
from dataclasses import replace
from pathlib import Path

from codistill.encoders.options import as_options, split_options, stated_of
from codistill.errors import ConfigError
from codistill.weights.cache import find_weights
from codistill.weights.contents import EncoderWeights, StudentWeights
from codistill.weights.export import write_export
from codistill.weights.known import find_known
from codistill.weights.layouts import read_weights


def main(argv: list[str]) -> int:
    """Convert a file, run, export or known name into an export folder; returns 0.

    Raises:
        CodistillError: if it cannot be read, or the folder cannot be written.
    """
    arguments = _parser().parse_args(argv)
    exists = Path(arguments.what).expanduser().exists()
    text, options = (arguments.what, {}) if exists else split_options(arguments.what)
    sizes = {"num_heads": arguments.num_heads, "image_size": arguments.image_size}
    options |= as_options(sizes, **sizes)
    path = Path(text).expanduser()
    known = None if path.exists() else find_known(text)
    if known is not None and known.content == "two-view decoder":
        raise ConfigError(f"{known.name} is a two-view decoder: only encoders and students are converted")
    weights = read_weights(find_weights(text) if known else path, stated=stated_of(options))
    weights = _adjusted(weights, options.get("image_size"), arguments.licence, arguments.name)
    if arguments.encoder_only and isinstance(weights, StudentWeights):
        weights = weights.encoder
    folder = write_export(arguments.out, weights, overwrite=arguments.overwrite)
    encoder = weights.encoder if isinstance(weights, StudentWeights) else weights
    teachers = f", {len(weights.projectors)} projectors" if isinstance(weights, StudentWeights) else ""
    print(f"{folder}: {encoder.name} ({encoder.layout}), {encoder.num_parameters:,} parameters{teachers}")
    print(f"licence: {encoder.licence}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="codistill convert",
        description="Convert weights of any known layout into encoder.safetensors + config.json.",
    )
    parser.add_argument("what", metavar="WHAT", help="a weights file, a run, an export, or a known name")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder to make")
    parser.add_argument("--overwrite", action="store_true", help="replace an export that is there already")
    parser.add_argument(
        "--encoder-only", action="store_true", help="leave projectors and target statistics out"
    )
    parser.add_argument(
        "--image-size", type=int, metavar="PIXELS", help="resize the positional embedding for this size"
    )
    parser.add_argument("--num-heads", type=int, metavar="N", help="heads of a file that does not say them")
    parser.add_argument("--name", help="what to call the encoder")
    parser.add_argument("--licence", help="licence of the weights, where the file does not say it")
    return parser


def _adjusted(
    weights: EncoderWeights | StudentWeights, image_size: int | None, licence: str | None, name: str | None
) -> EncoderWeights | StudentWeights:
    encoder = weights.encoder if isinstance(weights, StudentWeights) else weights
    if image_size is not None:
        encoder = encoder.at_image_size(image_size)
    encoder = replace(encoder, licence=licence or encoder.licence, name=name or encoder.name)
    return replace(weights, encoder=encoder) if isinstance(weights, StudentWeights) else encoder

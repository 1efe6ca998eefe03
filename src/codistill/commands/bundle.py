"""`codistill bundle E --out DIR`, `codistill bundle MODEL --head HEAD`: a model folder to distribute, with its card."""

from pathlib import Path

from codistill.commands.parsers.bundle import parse
from codistill.errors import CheckpointError, ConfigError
from codistill.tasks.bundle import BundledHead, bundle_encoder, bundle_heads
from codistill.weights.cache import named_weights
from codistill.weights.contents import StudentWeights
from codistill.weights.layouts import read_weights
from codistill.weights.licences import restated
from codistill.weights.shipped import find_shipped

SIZE = 112
"""Default side in pixels of the card's computed picture."""


def main(argv: list[str]) -> int:
    """Create a model folder, or add heads to one; returns 0.

    Raises:
        CodistillError: if something cannot be read, or encoder and heads do not belong together.
    """
    asked = parse(argv)
    command = ["bundle", *argv]
    if asked.head:
        idle = [
            f"--{name}" for name in ("out", "about", "licence", "size") if getattr(asked, name) is not None
        ]
        idle += ["--no-projectors"] if asked.no_projectors else []
        if idle:
            raise ConfigError(
                f"{', '.join(idle)} would have no effect with --head: the model is there already"
            )
        if not asked.encoder.exists() and (shipped := find_shipped(str(asked.encoder))) is not None:
            raise ConfigError(
                f"--head adds to a model's folder; {asked.encoder} is a name, of the one in {shipped}"
            )
        folder = bundle_heads(asked.encoder, [_head(text) for text in asked.head], command=command)
    else:
        about = _text(asked.about or "")
        if asked.out is None or not about.strip():
            raise ConfigError("a model needs --out DIR and --about TEXT (or --about @FILE)")
        if asked.size is not None and asked.size < 1:
            raise ConfigError(f"--size must be 1 or more; got {asked.size}")
        encoder = named_weights(str(asked.encoder))
        folder = bundle_encoder(
            encoder,
            asked.out,
            name=asked.out.name,
            about=about,
            licence=_licence(encoder, asked.licence),
            command=command,
            size=SIZE if asked.size is None else asked.size,
            projectors=not asked.no_projectors,
        )
    size = sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
    print(f"{folder}: {size / 1e6:.1f} MB of weights; read {folder}/README.md")
    return 0


def _licence(encoder: Path, asked: str | None) -> str:
    weights = read_weights(encoder)
    licence = weights.encoder.licence if isinstance(weights, StudentWeights) else weights.licence
    if not asked and licence.startswith("unknown"):
        raise ConfigError(f"{encoder}: does not say its licence: state it (--licence)")
    return restated(licence, asked)


def _head(text: str) -> BundledHead:
    folder, equals, metrics = text.partition("=")
    return BundledHead(folder=Path(folder), metrics=Path(metrics) if equals else None)


def _text(about: str) -> str:
    if not about.startswith("@"):
        return about
    try:
        return Path(about[1:]).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise CheckpointError(f"{about[1:]}: cannot be read ({error.strerror})") from error

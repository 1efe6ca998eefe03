"""Lists that `codistill inspect` prints without arguments: shipped models, released weights, published encoders."""

from pathlib import Path
from typing import Any

from codistill.encoders.published import PUBLISHED, PublishedModel
from codistill.files.json_files import read_json
from codistill.weights.known import KNOWN, KnownWeights
from codistill.weights.shipped import CARD, shipped_models


def known_encoders() -> dict[str, list[dict[str, Any]]]:
    """Tables of all known encoders."""
    return {
        "models that ship": [shipped_row(folder) for folder in shipped_models().values()],
        "known weights": [known_row(known) for known in KNOWN.values()],
        "published encoders, by timm": [published_row(model) for model in PUBLISHED.values()],
    }


def shipped_row(folder: Path) -> dict[str, Any]:
    """Row of a shipped model, from its card."""
    card = read_json(folder / CARD)
    size = sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
    return {
        "name": folder.name,
        "heads": ", ".join(card["heads"]),
        "size": f"{size / 1e6:.1f} MB",
        "licence": card["licence"],
        "path": str(folder),
    }


def known_row(known: KnownWeights) -> dict[str, Any]:
    """Row of released weights."""
    return {
        "name": known.name,
        "content": known.content,
        "licence": known.licence,
        "commercial use": _yes_no(known.commercial),
        "size": known.size or "unknown",
        "also called": ", ".join(known.names[1:]),
        "url": known.url,
        "sha256": known.sha256 or "not published",
    }


def published_row(model: PublishedModel) -> dict[str, Any]:
    """Row of a published encoder that timm has."""
    return {
        "name": model.name,
        "licence": model.licence,
        "commercial use": _yes_no(model.commercial),
        "parameters": f"{model.parameters:g} M",
        "tokens.cls": model.summary,
        "encoder": model.encoder,
        "homepage": model.homepage,
    }


def _yes_no(commercial: bool) -> str:
    return "yes, under its terms" if commercial else "no"

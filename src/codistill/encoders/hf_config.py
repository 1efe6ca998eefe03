"""Sizes and summary tokens of a transformers model, from its configuration."""

from typing import Any

from codistill.encoders.summary import no_summary


def side_of(size: Any) -> int | None:
    """Side of a square that is given as a number or a pair; None for anything else."""
    if isinstance(size, int):
        return size
    if isinstance(size, (list, tuple)) and len(set(size)) == 1 and isinstance(size[0], int):
        return size[0]
    return None


def native_size(config: Any, patch: int | None) -> int:
    """Side of the square images in the model's configuration, or a default."""
    inner = getattr(config, "backbone_config", None)
    side = side_of(getattr(config, "image_size", None)) or side_of(getattr(inner, "image_size", None))
    places = getattr(config, "num_patches", None)
    if side is None and patch and isinstance(places, int):
        side = int(places**0.5) * patch
    return side or 224


def summary_tokens(config: Any, word: str | None, name: str) -> tuple[int, ...]:
    """Positions of the model's summary tokens among those before the patches."""
    said = getattr(config, "summary_idxs", None)
    places = tuple(int(place) for place in said) if said else ()
    if word is None or not word.isdecimal():
        return places if word is None and places else (0,)
    if not places:
        places = tuple(range(int(getattr(config, "n_cls_tokens", None) or 1)))
    if int(word) >= len(places):
        raise no_summary(word, name, f"it has {len(places)} (0 to {len(places) - 1})")
    return (places[int(word)],)

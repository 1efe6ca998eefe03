"""Licences of weights that were made from other weights: texts in, the inherited text and what it permits out.

A student's licence names those of its teachers and of the weights that it started from. A student that teaches the next
one (a proxy) hands on all of them, so that no generation forgets the first.
"""

from collections.abc import Iterable

DISTILLED = "distilled from weights under: "
_MARK = "; "
_FREE = (
    "apache",
    "mit",
    "bsd",
    "none (random weights)",
    "none (no weights)",
    "cc0",
    "cc-by-4.0",
    "cc by 4.0",
)
_RESTRICTED = (
    "non-commercial",
    "noncommercial",
    "cc-by-nc",
    "cc by-nc",
    "cc by nc",
    "research only",
    "fair-nc",
)


def licences_of(licence: str) -> tuple[str, ...]:
    """The single licences in a text, those of all generations before."""
    if not licence.startswith(DISTILLED):
        return (licence,)
    parts = licence.removeprefix(DISTILLED).split(_MARK)
    return tuple(single for part in parts for single in licences_of(part))


def inherited(licences: Iterable[str]) -> str:
    """The licence of weights made from weights under these, each single one named once."""
    return DISTILLED + _MARK.join(sorted({single for text in licences for single in licences_of(text)}))


def permits_commercial(licence: str) -> bool | None:
    """Whether a licence, with all that it inherits, is known to allow commercial use; None if that is not known."""
    found = [_permits(single.lower()) for single in licences_of(licence)]
    if False in found:
        return False
    return None if None in found else True


def _permits(licence: str) -> bool | None:
    if any(mark in licence for mark in _RESTRICTED):
        return False
    return True if licence.startswith(_FREE) else None

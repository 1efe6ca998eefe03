"""Licences of weights that were made from other weights: texts in, the inherited text and what it permits out.

A student's licence names the licences of its teachers and of the weights that it started from. A student that becomes a
teacher (a proxy) passes on all of them, so that none is lost over generations.
"""

from collections.abc import Iterable

from codistill.errors import ConfigError

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
    "dinov3-license",
    "nvidia-open-model-license",
)
"""Beginnings of licences that allow commercial use, under their terms."""
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
    """Split a text into single licences, over all generations."""
    if not licence.startswith(DISTILLED):
        return (licence,)
    parts = licence.removeprefix(DISTILLED).split(_MARK)
    return tuple(single for part in parts for single in licences_of(part))


def inherited(licences: Iterable[str]) -> str:
    """The licence of weights made from weights under these licences; each single licence is named once."""
    return DISTILLED + _MARK.join(sorted({single for text in licences for single in licences_of(text)}))


def permits_commercial(licence: str) -> bool | None:
    """Whether a licence, including all that it inherits, allows commercial use; None if that is unknown."""
    found = [_permits(single.lower()) for single in licences_of(licence)]
    if False in found:
        return False
    return None if None in found else True


def restated(licence: str, asked: str | None) -> str:
    """The licence to record for weights under `licence`, of which the user states another one (None: does not).

    Raises:
        ConfigError: if the weights forbid commercial use and the stated licence allows it, or does not say.
    """
    if asked and permits_commercial(licence) is False and permits_commercial(asked) is not False:
        raise ConfigError(
            f"the weights forbid commercial use (licence: {licence}), and copies of them keep that: leave --licence "
            f"{asked!r} out, or state a licence that forbids it, too"
        )
    return asked or licence


def _permits(licence: str) -> bool | None:
    if any(mark in licence for mark in _RESTRICTED):
        return False
    return True if licence.startswith(_FREE) else None

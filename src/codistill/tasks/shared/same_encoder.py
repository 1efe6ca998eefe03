"""Whether a head stands on the encoder that it was fitted on: equal widths say nothing.

head.json keeps the encoder's fingerprint (name, architecture, hash of the weights). Another encoder, or other features
of the same one, are refused unless asked for. One exception needs no asking, since it names what it does: a head that
was fitted on a teacher runs on what a student projects into that teacher's own space (projector and denormalize).
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from codistill.encoders.base import Encoder
from codistill.encoders.fingerprint import EncoderFingerprint, encoder_fingerprint, weights_hash
from codistill.errors import ConfigError
from codistill.tasks.shared.features import FeatureConfig, FrozenFeatures
from codistill.tasks.shared.head_files import EncoderFacts, HeadRecord

_log = logging.getLogger(__name__)


def features_fingerprint(features: FrozenFeatures) -> EncoderFingerprint:
    """The encoder's, or the whole student's where its projector is part of the features."""
    found = encoder_fingerprint(features.encoder)
    if features.student is None:
        return found
    return replace(found, weights=weights_hash(features.student))


def told_of(features: FrozenFeatures) -> EncoderFacts:
    """What head.json says of the features."""
    spec = features.encoder.spec
    return EncoderFacts(
        name=spec.name,
        licence=spec.licence,
        channels=features.channels,
        patch_size=spec.patch_size,
        fingerprint=features_fingerprint(features),
    )


def check_features(head: Path, record: HeadRecord, features: FrozenFeatures, other: bool) -> None:
    """As `check_encoder`, for a head on frozen features."""
    _check(head, record, features.config, lambda: features_fingerprint(features), other)


def check_encoder(
    head: Path, record: HeadRecord, named: str, encoder: Encoder, other: bool, *, norm: bool
) -> None:
    """Refuse an encoder that a head was not fitted on, unless asked for; what cannot be checked is said.

    Args:
        head, record: its folder, and what head.json says.
        named: what the user called the encoder.
        encoder: that is to be used.
        other: it may be another one.
        norm: whether the head takes tokens after its final norm.

    Raises:
        ConfigError: if it is another one; the text says in what they differ.
    """
    config = replace(record.features, encoder=named, norm=norm)
    _check(head, record, config, lambda: encoder_fingerprint(encoder), other)


def say_unknown(head: Path, encoder: str) -> None:
    """Say that a file of heads names no encoder."""
    _log.warning(
        "%s: does not say which encoder it was fitted on: that it is %s cannot be checked", head, encoder
    )


def _check(
    head: Path,
    record: HeadRecord,
    config: FeatureConfig,
    given: Callable[[], EncoderFingerprint],
    other: bool,
) -> None:
    fitted = record.features
    into_its_space = config.denormalize and fitted.projector is None
    if into_its_space:
        _log.warning(
            "%s was fitted on %s; it runs on what %s projects into the space of its teacher %r, which is taken to be "
            "that encoder",
            head,
            fitted.encoder,
            config.encoder,
            config.projector,
        )
        return
    changed = _choices(fitted, config)
    expected = record.encoder.fingerprint
    if expected is None:
        say_unknown(head, config.encoder)
    elif difference := expected.difference(given()):
        changed.insert(0, difference)
    if not changed:
        return
    text = (
        f"{head} was fitted on {fitted.encoder}; {config.encoder} gives other features: {'; '.join(changed)}"
    )
    if not other:
        raise ConfigError(
            f"{text}. Give what it was fitted on (--encoder, if it lies elsewhere now), fit a head for this one, or "
            "ask for it all the same with --other-encoder."
        )
    _log.warning("%s (--other-encoder)", text)


def _choices(fitted: FeatureConfig, config: FeatureConfig) -> list[str]:
    """What was chosen otherwise."""
    names = ["projector", "denormalize", "blocks"]
    if fitted.projector is None and config.projector is None:
        names.append("norm")  # never before a projector
    return [
        f"{name} {getattr(fitted, name)} against {getattr(config, name)}"
        for name in names
        if getattr(fitted, name) != getattr(config, name)
    ]

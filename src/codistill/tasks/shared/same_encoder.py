"""Check that a head is used with the encoder that it was fitted on; equal widths do not prove it.

head.json keeps the encoder's fingerprint (name, architecture, hash of the weights). Another encoder, or other features
of the same encoder, are refused without --other-encoder. There is one exception, which the options state explicitly: a
head fitted on a teacher may run on a student's tokens projected into that teacher's feature space (projector and
denormalize).
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
    """Fingerprint of the encoder; with a projector, the weights' hash is that of the whole student."""
    found = encoder_fingerprint(features.encoder)
    if features.student is None:
        return found
    return replace(found, weights=weights_hash(features.student))


def told_of(features: FrozenFeatures) -> EncoderFacts:
    """Facts on the features for head.json."""
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
    """Refuse an encoder that the head was not fitted on, unless `other`; log what cannot be checked.

    Args:
        head, record: the head's folder, and the contents of its head.json.
        named: the encoder as the user gave it.
        encoder: the encoder to use.
        other: allow another encoder.
        norm: whether the head takes tokens after the encoder's final norm.

    Raises:
        ConfigError: if it is another encoder; the message lists the differences.
    """
    config = replace(record.features, encoder=named, norm=norm)
    _check(head, record, config, lambda: encoder_fingerprint(encoder), other)


def say_unknown(head: Path, encoder: str) -> None:
    """Log that a released head file records no encoder."""
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
    """Options in which the two feature configs differ, as text."""
    names = ["projector", "denormalize", "blocks"]
    if fitted.projector is None and config.projector is None:
        names.append("norm")  # no norm is applied before a projector
    return [
        f"{name} {getattr(fitted, name)} against {getattr(config, name)}"
        for name in names
        if getattr(fitted, name) != getattr(config, name)
    ]

"""Check that an embeddings file and an image encoder share a space, by names: equal widths do not prove it.

The names and widths that a run, an export or a known name states are compared before anything is loaded.
"""

from dataclasses import dataclass
from pathlib import Path

from codistill.encoders.facts import facts_of
from codistill.encoders.timm import ends_in_layer
from codistill.encoders.timm_model import PREFIX as TIMM
from codistill.errors import ConfigError
from codistill.student.load import described_teachers
from codistill.tasks.shared.features import FeatureConfig, FrozenFeatures
from codistill.types import TokenKind


@dataclass(frozen=True, kw_only=True)
class TextSide:
    """What a file of embeddings states about itself.

    Attributes:
        file: path, for messages.
        tower: the image encoder whose space the embeddings share.
        width: channels.
    """

    file: Path
    tower: str
    width: int


def image_side(encoder: str, teacher: str | None, text: TextSide, kind: TokenKind = "cls") -> FrozenFeatures:
    """Load the encoder, or a student projected to one of its teachers, whose vectors share a space with the text.

    Args:
        encoder: as for `load_encoder`.
        teacher: teacher of a student, whose space is used; None: the encoder's own.
        text: the file of embeddings.
        kind: kind of tokens that are compared with the text.

    Raises:
        ConfigError: if tower or width differ, there are no such tokens, or the space lies behind a layer left out.
    """
    what = f"teacher {teacher!r}" if teacher else "the encoder"
    if text.tower.startswith(TIMM) and ends_in_layer(text.tower):
        raise ConfigError(
            f"{text.tower} ends in a projection or a classifier, which timm: encoders leave out: their vectors are in "
            "no text tower's space, even if the widths agree. If transformers has the model, take it as "
            "hf:ORG/REPO,summary=projected"
        )
    if teacher is not None:
        said = described_teachers(encoder).get(teacher, {})
        check_tower(text.tower, said.get("encoder"), what)
        width = said.get("cls_dim", said.get("dim")) if kind == "cls" else said.get("dim")
        _check_width(text, width if isinstance(width, int) else None, teacher, kind)
    else:
        facts = facts_of(encoder)
        _check_width(text, facts.cls_dim if kind == "cls" else facts.dim, encoder, kind)
    features = FrozenFeatures(
        FeatureConfig(encoder=encoder, projector=teacher, denormalize=teacher is not None)
    )
    if teacher is None:
        check_tower(text.tower, features.encoder.spec.name, what)
    if kind == "cls" and not features.has_cls:
        raise ConfigError(
            f"{teacher or encoder} has no summary of the whole image to compare with text; load it with one "
            "(summary=pooled or summary=projected), or name a teacher that has class tokens (--projector)"
        )
    width = features.cls_channels if kind == "cls" else features.channels
    _check_width(text, width, teacher or encoder, kind)
    return features


def check_tower(tower: str, encoder: str | None, what: str) -> None:
    """Refuse embeddings of another tower.

    Raises:
        ConfigError: if the towers differ; the message names both.
    """
    if encoder is None:
        raise ConfigError(f"nothing says which encoder {what} is, so text cannot be compared with it")
    if tower != encoder:
        raise ConfigError(
            f"the embeddings are of the tower {tower!r}, {what} is {encoder!r}: cosines between the two mean "
            f"nothing. Make embeddings with the text tower of {encoder!r}, and write that name as `tower`."
        )


def _check_width(text: TextSide, width: int | None, what: str, kind: TokenKind) -> None:
    if width is not None and width != text.width:
        tokens = "summaries" if kind == "cls" else "patches"
        raise ConfigError(
            f"{text.file}: embeddings have {text.width} channels, {tokens} of {what} {width}: they are not of one "
            f"space. Make them with the text tower of {text.tower}"
        )

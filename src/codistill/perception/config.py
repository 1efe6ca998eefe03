"""Configuration of a perception in a YAML file: an encoder, and heads by name, each fitted or released.

    encoder: weights/dune_vitbase_14_448.pth
    size: 448
    heads:
      segmentation: {path: heads/ade20k}
      people: {path: multiHMR_672_L.pt, projector: multihmr_vitlarge_14_672, denormalize: true}

Paths are relative to the file.
"""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

from codistill.errors import ConfigError, check_least, unknown_name
from codistill.files.config import load_yaml
from codistill.files.places import with_path
from codistill.nn.precision import Precision
from codistill.weights.known import find_known
from codistill.weights.shipped import HEADS, find_shipped, read_card

FILE = "perception.yaml"
"""File in a model's folder that configures its perception; without it, all heads of the folder are used."""


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """A head of a perception.

    Attributes:
        path: a folder of `codistill fit`, a released file, or the name of a shipped model (its head for the task).
        task: task of a released file; None: the task in the folder's head.json, or the head's name if it is a task.
        projector: name of a teacher whose projector gives the tokens that the head reads. None: as the head was fitted.
        denormalize: convert projected tokens back to the teacher's own scale, for the teacher's own heads.
        norm: whether a released head reads tokens after the encoder's final norm. None: as the head was fitted or
            published.
        blocks: blocks whose outputs a released head reads. None: as the head was fitted, or the last block.
        other_encoder: allow an encoder other than that on which the head was fitted.
        options: options of the task: `kind` of a released segmentation or depth file, `threshold` of people.
    """

    path: str
    task: str | None = None
    projector: str | None = None
    denormalize: bool = False
    norm: bool | None = None
    blocks: tuple[int, ...] | None = None
    other_encoder: bool = False
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PerceptionConfig:
    """An encoder with its heads.

    Attributes:
        encoder: as for `load_encoder`; None: the encoder on which the first fitted head was trained.
        heads: heads by the name of their answers.
        size: pixels of an image's longer side, rounded to whole patches; None: the largest at which a head was fitted.
        batch_size: images per pass of the encoder.
        precision: precision of encoder and projectors; `auto`: bf16 on CUDA; `fast`: also on a CPU where it is faster.
            Heads choose as in `codistill predict`.
        about: a text for users that says what was trained on which data, and by whom.
    """

    encoder: str | None = None
    heads: dict[str, HeadConfig] = field(default_factory=dict)
    size: int | None = None
    batch_size: int = 16
    precision: Precision = "auto"
    about: str = ""

    def __post_init__(self) -> None:
        check_least(self, "size", "batch_size")
        if self.precision not in get_args(Precision):
            raise ConfigError(unknown_name("precision", self.precision, get_args(Precision)))


def read_config(path: str | Path) -> PerceptionConfig:
    """Read a perception from a YAML file, or from a model's folder with all its heads.

    Paths in the file are relative to it; the result has them relative to the working directory.

    Raises:
        ConfigError: if it cannot be read, or a key or value is wrong; the text names it.
        CheckpointError: if a folder is not a model.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        return _of_model(path)
    config = load_yaml(PerceptionConfig, path)
    heads = {name: replace(head, path=_head_beside(path, head.path)) for name, head in config.heads.items()}
    encoder = None if config.encoder is None else _encoder_beside(path, config.encoder)
    return replace(config, encoder=encoder, heads=heads)


def _of_model(folder: Path) -> PerceptionConfig:
    about = str(read_card(folder).get("about", ""))
    heads = {head.name: HeadConfig(path=str(head)) for head in sorted((folder / HEADS).glob("*"))}
    return PerceptionConfig(encoder=str(folder), heads=heads, about=about)


def _head_beside(config: Path, text: str) -> str:
    """A path relative to the config; or, if there is no such file, the name of known weights or a shipped model."""
    place = _beside(config, text)
    named = find_known(text) is not None or find_shipped(text) is not None
    return text if named and not Path(place).exists() else place


def _beside(config: Path, text: str) -> str:
    return str(config.parent / Path(text).expanduser())


def _encoder_beside(config: Path, text: str) -> str:
    """A path relative to the config, with its options, if the file exists; else the text as it is, a name."""

    def found(part: str) -> str:
        place = _beside(config, part)
        return place if part and os.path.exists(place) else part  # noqa: PTH110

    return with_path(text, found)

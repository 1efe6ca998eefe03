"""Write and read a fitted head: HEAD/head.json describes it, HEAD/head.safetensors holds tensors under released keys.

Besides the tensors, head.json is all that is needed to use the head: encoder, features, test settings, classes. It also
records how the head was fitted, the scores on held-out images and the provenance. The folder also keeps the state from
which the fit resumes.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from torch import Tensor

from codistill.encoders.fingerprint import EncoderFingerprint
from codistill.errors import CheckpointError, ConfigError
from codistill.files.json_files import read_json, write_json
from codistill.files.places import absolute_encoder, absolute_path, absolute_place, moved_place
from codistill.files.plain import from_plain, to_plain
from codistill.files.tensors import write_tensors
from codistill.tasks.shared.features import FeatureConfig
from codistill.tasks.shared.record import provenance
from codistill.weights.read import read_checkpoint
from codistill.weights.state import StateDict

FORMAT, VERSION = "codistill-head", 2
RECORD, TENSORS = "head.json", "head.safetensors"
OWN_ENCODER = "./encoder"
"""In head.json, an encoder trained with the head: an export inside the head's folder, so the folder may be moved."""
ENCODER_OF_MODEL = "../.."
"""Encoder in head.json of a head inside a model's folder (`weights/shipped.py`): the model's encoder."""


T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class HeadData:
    """The data that a head was fitted on.

    Attributes:
        spec: `LAYOUT:FOLDER`.
        samples: number of samples used: images, pairs.
        classes: names of the head's classes, by number; () if it has none.
    """

    spec: str
    samples: int
    classes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class EncoderFacts:
    """Facts on the encoder that a head was fitted on.

    Attributes:
        name, licence: name and licence of the encoder.
        channels: channels of a token.
        patch_size: pixels per token side.
        fingerprint: fingerprint of the model that computes the features; None if unknown.
        trained_from: the encoder before it was trained together with the head; "" if it was not.
    """

    name: str
    licence: str
    channels: int
    patch_size: int
    fingerprint: EncoderFingerprint | None = None
    trained_from: str = ""


@dataclass(frozen=True, kw_only=True)
class HeadRecord:
    """Contents of head.json.

    Attributes:
        task: `segmentation`, `depth`, `knn`, `linear`.
        features: features that the head was fitted on; `read_record` gives the present place of the encoder (for an
            encoder trained with the head, see `OWN_ENCODER`).
        data: data that the head was fitted on.
        encoder: facts on the encoder.
        test: how images are resized for the head and its answer back to the image; defined by the task, see `own`.
        head: config of the head; defined by the task, see `own`.
        fit: protocol, steps, learning rates, scores on held-out images, seconds.
        provenance: command, commit, versions, time.
        place: absolute path of the folder when it was written, or the folder from which it was read.
    """

    task: str
    features: FeatureConfig
    data: HeadData
    encoder: EncoderFacts
    test: dict[str, Any] = field(default_factory=dict)
    head: dict[str, Any] = field(default_factory=dict)
    fit: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    place: str = ""

    def own(self, part: Literal["test", "head"], cls: type[T]) -> T:
        """Parse a part that the task defines.

        Raises:
            ConfigError: if its content does not fit the class.
        """
        return from_plain(cls, getattr(self, part), f"{self.place}/{RECORD}: {part}")


def write_head(folder: Path, record: HeadRecord, tensors: Mapping[str, Tensor], command: list[str]) -> None:
    """Write a head: first its tensors, then head.json, with absolute paths.

    Raises:
        CheckpointError: if it cannot be written.
    """
    plain = {"format": FORMAT, "format_version": VERSION, **to_plain(_at_home(record, folder))}
    plain["provenance"] = provenance(command)
    write_tensors(folder / TENSORS, tensors, {"format": FORMAT})
    write_json(folder / RECORD, plain)


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """Read a head's tensors.

    Raises:
        CheckpointError: if they cannot be read, or hold values that are not finite (all predictions would be wrong).
    """
    path = folder / TENSORS
    state = StateDict.of_checkpoint(path, read_checkpoint(path))
    state.check_values()
    return state.tensors


def _at_home(record: HeadRecord, folder: Path) -> HeadRecord:
    """The record with paths that do not depend on the current folder."""
    encoder = record.features.encoder
    if encoder.startswith("hf:"):  # a folder of save_pretrained, or a repository
        encoder = absolute_place(encoder)
    elif encoder != OWN_ENCODER:
        encoder = absolute_encoder(encoder)
    data = replace(record.data, spec=absolute_place(record.data.spec))
    features = replace(record.features, encoder=encoder)
    return replace(record, features=features, data=data, place=absolute_path(str(folder)))


def _moved(record: HeadRecord, folder: Path) -> HeadRecord:
    """The record with paths for the folder's present place: files moved together with it are found next to it."""
    before, now, encoder = record.place, str(folder), record.features.encoder
    beside = encoder in (OWN_ENCODER, ENCODER_OF_MODEL)
    encoder = os.path.normpath(folder / encoder) if beside else moved_place(encoder, before, now)
    data = replace(record.data, spec=moved_place(record.data.spec, before, now))
    return replace(record, features=replace(record.features, encoder=encoder), data=data, place=now)


def is_head(folder: Path) -> bool:
    """Whether a folder holds a fitted head."""
    return (folder / RECORD).is_file()


def read_record(folder: Path, task: str | None = None) -> HeadRecord:
    """Read the record in head.json.

    Args:
        folder: the head's folder.
        task: the task that the head must be for.

    Raises:
        CheckpointError: if there is no head, or a damaged one.
        ConfigError: if the head is for another task.
    """
    if not folder.is_dir():
        raise CheckpointError(
            f"{folder}: no such folder. Fit a head first: codistill fit {task or 'TASK'} ..."
        )
    if not is_head(folder):
        raise CheckpointError(
            f"{folder}: holds no {RECORD}: no head was fitted here, or the fit has not finished. The same `codistill "
            "fit` command resumes."
        )
    plain = read_json(folder / RECORD)
    if plain.pop("format", None) != FORMAT or plain.pop("format_version", None) != VERSION:
        raise CheckpointError(f"{folder / RECORD}: is no head of this version of codistill")
    try:
        record: HeadRecord = from_plain(HeadRecord, plain, str(folder / RECORD))
    except ConfigError as error:
        raise CheckpointError(str(error)) from error
    if task is not None and record.task != task:
        raise ConfigError(f"{folder}: is a head for {record.task}, not for {task}")
    return _moved(record, folder)

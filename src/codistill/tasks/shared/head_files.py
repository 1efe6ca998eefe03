"""A fitted head on disk: HEAD/head.json describes it, HEAD/head.safetensors holds the tensors under released keys.

head.json suffices to use the head: encoder, features, test settings, classes; it also records how it was fitted, with
which scores, and its provenance. The folder also keeps what the fit needs to resume.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from codistill.errors import CheckpointError, ConfigError
from codistill.files.json_files import read_json, write_json
from codistill.files.places import absolute_encoder, absolute_path, absolute_place, moved_place
from codistill.files.plain import from_plain, to_plain
from codistill.files.tensors import write_tensors
from codistill.tasks.shared.features import FeatureConfig
from codistill.tasks.shared.record import provenance

FORMAT, VERSION = "codistill-head", 1
RECORD, TENSORS = "head.json", "head.safetensors"
OWN_ENCODER = "./encoder"
"""In head.json, for an encoder that was trained with the head: an export in the head's folder, which may be moved."""


@dataclass(frozen=True, kw_only=True)
class HeadRecord:
    """Contents of head.json.

    Attributes:
        task: `segmentation`, `depth`, `knn`, `linear`.
        features: input of the head; `read_record` resolves where its encoder is now (its own: `OWN_ENCODER`).
        data: the data set: its spec, its name, its classes.
        test: how images are prepared for the head, and its output mapped back.
        head: the head's own config.
        encoder: name, licence, sizes of the encoder.
        fit: protocol, steps, learning rates, scores on held-out images, seconds.
        provenance: command, commit, versions, time.
        place: the folder's absolute path when it was written; "" in heads from before that was kept.
    """

    task: str
    features: FeatureConfig
    data: dict[str, Any]
    test: dict[str, Any] = field(default_factory=dict)
    head: dict[str, Any] = field(default_factory=dict)
    encoder: dict[str, Any] = field(default_factory=dict)
    fit: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    place: str = ""


def write_head(folder: Path, record: HeadRecord, tensors: Mapping[str, Tensor], command: list[str]) -> None:
    """Write a head: its tensors, then head.json, with absolute paths.

    Raises:
        CheckpointError: if it cannot be written.
    """
    plain = {"format": FORMAT, "format_version": VERSION, **to_plain(_at_home(record, folder))}
    plain["provenance"] = provenance(command)
    write_tensors(folder / TENSORS, tensors, {"format": FORMAT})
    write_json(folder / RECORD, plain)


def _at_home(record: HeadRecord, folder: Path) -> HeadRecord:
    """The record with paths that do not depend on the current folder."""
    encoder = record.features.encoder
    if encoder.startswith("hf:"):  # a folder of save_pretrained, or a repository
        encoder = absolute_place(encoder)
    elif encoder != OWN_ENCODER:
        encoder = absolute_encoder(encoder)
    data = record.data
    if "spec" in data:
        data = {**data, "spec": absolute_place(str(data["spec"]))}
    features = replace(record.features, encoder=encoder)
    return replace(record, features=features, data=data, place=absolute_path(str(folder)))


def _moved(record: HeadRecord, folder: Path) -> HeadRecord:
    """The record for the folder's present place: what was moved together with it is found beside it."""
    before, now, encoder, data = record.place, str(folder), record.features.encoder, record.data
    if encoder == OWN_ENCODER:
        encoder = str(folder / OWN_ENCODER)
    elif before:
        encoder = moved_place(encoder, before, now)
    if before and "spec" in data:
        data = {**data, "spec": moved_place(str(data["spec"]), before, now)}
    return replace(record, features=replace(record.features, encoder=encoder), data=data)


def is_head(folder: Path) -> bool:
    """Whether a folder holds a fitted head."""
    return (folder / RECORD).is_file()


def read_record(folder: Path, task: str | None = None) -> HeadRecord:
    """The record in head.json.

    Args:
        folder: of the head.
        task: that the head must be for.

    Raises:
        CheckpointError: if there is no head, or a damaged one.
        ConfigError: if it is for another task.
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

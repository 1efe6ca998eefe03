"""Read and write a fitted two-view head: the folder is laid out as for every head, tensors have DUNE-MASt3R's names.

Names: `norm.*`, and `mast3r.*` for decoder and heads. head.json contains the architecture, the encoder and the image
size.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from codistill.encoders.base import Encoder
from codistill.encoders.fingerprint import encoder_fingerprint
from codistill.encoders.load import load_encoder
from codistill.encoders.vit import ViTEncoder
from codistill.errors import CheckpointError, ConfigError
from codistill.files.plain import to_plain
from codistill.heads.two_view.frozen import as_fast_as
from codistill.heads.two_view.load import read_two_view
from codistill.heads.two_view.model import TwoViewModel, load_two_view
from codistill.heads.two_view.names import to_released
from codistill.heads.two_view.network import TwoViewConfig, TwoViewHead
from codistill.tasks.shared.features import FeatureConfig
from codistill.tasks.shared.head_files import (
    TENSORS,
    EncoderFacts,
    HeadData,
    HeadRecord,
    is_head,
    read_record,
    read_tensors,
    write_head,
)
from codistill.tasks.shared.same_encoder import check_encoder, say_unknown
from codistill.tasks.shared.unfrozen import write_unfrozen
from codistill.tasks.task import Subject
from codistill.tasks.two_view.config import check_features
from codistill.weights.cache import find_weights
from codistill.weights.known import find_known
from codistill.weights.read import read_checkpoint

TASK = "two-view"
_PREFIX = "mast3r."


@dataclass(frozen=True, kw_only=True)
class TwoViewProtocol:
    """How images are resized for a head; see `OpenedTwoView`."""

    long_edge: int
    square_ok: bool


@dataclass(frozen=True)
class OpenedTwoView:
    """A two-view model, and how images are prepared for it.

    Attributes:
        model: the model, in evaluation mode.
        long_edge: length of an image's longer side in pixels.
        square_ok: whether square images stay square (MASt3R crops them to 4:3).
        about: source, encoder, licence, for a metrics file.
    """

    model: TwoViewModel
    long_edge: int
    square_ok: bool
    about: dict[str, Any]


def released_names(head: TwoViewHead) -> dict[str, Tensor]:
    """A head's tensors under their names in a DUNE-MASt3R file."""
    return {_released(name): tensor.detach().cpu() for name, tensor in head.state_dict().items()}


def _released(name: str) -> str:
    return name if name.startswith("norm.") else _PREFIX + to_released(name)


def write_two_view_head(
    folder: Path,
    head: TwoViewHead,
    *,
    encoder: Encoder,
    name: str,
    size: tuple[int, int],
    data: HeadData,
    fit: dict[str, Any],
    command: list[str],
    trained: ViTEncoder | None = None,
) -> None:
    """Write a head folder.

    Args:
        folder: folder of the head.
        head: the fitted head.
        encoder, name: the head's encoder, and the name that the user gave.
        size: rows and columns of the training views.
        data, fit: facts for the record.
        command: the command line, for provenance.
        trained: the encoder, if it was trained with the head; it is then saved in the head's folder.

    Raises:
        CheckpointError: if it cannot be written.
    """
    spec = encoder.spec
    said = EncoderFacts(
        name=spec.name,
        licence=spec.licence,
        channels=spec.dim,
        patch_size=spec.patch_size,
        fingerprint=encoder_fingerprint(encoder if trained is None else trained),
        trained_from="" if trained is None else name,
    )
    if trained is not None:
        name = write_unfrozen(folder, trained, named=name, task=TASK, command=command)
    config = to_plain(head.config)
    for mode in ("confidence", "descriptor_confidence"):
        if math.isinf(config[mode]["high"]):
            del config[mode]["high"]  # infinity, the default, which JSON cannot express
    record = HeadRecord(
        task=TASK,
        features=FeatureConfig(encoder=name, norm=not head.config.fresh_norm),
        data=data,
        test=to_plain(TwoViewProtocol(long_edge=max(size), square_ok=True)),
        head=config,
        encoder=said,
        fit=fit,
    )
    write_head(folder, record, released_names(head), command)


def open_two_view(subject: Subject) -> OpenedTwoView:
    """Open a fitted head with its encoder, or a released MASt3R, DUSt3R or DUNE-MASt3R file.

    Raises:
        CheckpointError: if there is no such head or file, or it is damaged.
        ConfigError: if both or neither are named, the head is for another task, or the encoder does not fit.
    """
    if (subject.head is None) == (subject.model is None):
        raise ConfigError(
            f"name one of --head HEAD (of `codistill fit {TASK}`) and --model FILE (MASt3R, DUSt3R, DUNE-MASt3R)"
        )
    if subject.features is not None:
        check_features(subject.features)
    if subject.head is None:
        assert subject.model is not None
        return _released_model(subject.model.expanduser(), subject.features)
    folder = subject.head.expanduser()
    if folder.is_file():
        raise ConfigError(f"{folder}: a released file holds encoder and head together: name it by --model")
    return _fitted_head(folder, subject.features, subject.other_encoder)


def fitted_network(folder: Path) -> tuple[HeadRecord, TwoViewHead, TwoViewProtocol]:
    """Read a fitted head's folder: its record, its network without an encoder, and how images are resized for it.

    Raises:
        CheckpointError: if it is damaged.
        ConfigError: if it is for another task.
    """
    record = read_record(folder, TASK)
    config, seen = record.own("head", TwoViewConfig), record.own("test", TwoViewProtocol)
    with torch.device("meta"):
        head = TwoViewHead(config)
    wanted = {_released(name): (name, tensor.shape) for name, tensor in head.state_dict().items()}
    found = read_tensors(folder)
    wrong = [n for n, (_, shape) in wanted.items() if n not in found or found[n].shape != shape]
    surplus = [n for n in found if n not in wanted]
    if wrong or surplus:
        raise CheckpointError(
            f"{folder / TENSORS}: does not fit head.json beside it (first: {(wrong or surplus)[0]!r}, "
            f"{len(wrong)} missing or misshapen, {len(surplus)} surplus). Copy the whole folder again."
        )
    tensors = {name: found[released].float().clone() for released, (name, _) in wanted.items()}
    head.load_state_dict(tensors, assign=True)
    return record, head.eval(), seen


def published_protocol(head: TwoViewHead) -> TwoViewProtocol:
    """How images are resized for a released network: 37 patches for DUNE-MASt3R, 32 for MASt3R's own encoder."""
    dune, patch = head.config.fresh_norm, head.config.patch_size
    return TwoViewProtocol(long_edge=37 * patch if dune else 32 * patch, square_ok=dune)


def released_file(path: Path) -> Path:
    """The file of a released model: the given path, or the file of known weights with that name."""
    return find_weights(str(path)) if not path.exists() and find_known(str(path)) is not None else path


def _fitted_head(folder: Path, features: FeatureConfig | None, other_encoder: bool) -> OpenedTwoView:
    record, head, seen = fitted_network(folder)
    norm = not head.config.fresh_norm
    if features is not None and features.norm is not norm:
        raise ConfigError(
            f"{folder} takes tokens {'after' if norm else 'before'} the encoder's norm: leave out --norm"
        )
    name = record.features.encoder if features is None else features.encoder
    encoder = load_encoder(name)
    model = TwoViewModel(encoder, as_fast_as(encoder, head)).eval()
    check_encoder(folder, record, name, model.encoder, other_encoder, norm=norm)
    about = {"head": str(folder), "encoder": _told(name, model)}
    return OpenedTwoView(model, seen.long_edge, seen.square_ok, about)


def _released_model(path: Path, features: FeatureConfig | None) -> OpenedTwoView:
    """Open a released model with its published image size."""
    path = released_file(path)
    encoder = features.encoder if features is not None else None
    model = load_two_view(path, encoder=encoder)
    if encoder is not None:
        say_unknown(path, encoder)
    seen = published_protocol(model.head)
    about = {"encoder": {"model": str(path), **_told(encoder or model.encoder.spec.name, model)}}
    return OpenedTwoView(model, seen.long_edge, seen.square_ok, about)


def _told(named: str, model: TwoViewModel) -> dict[str, Any]:
    spec = model.encoder.spec
    return {"encoder": named, "name": spec.name, "licence": spec.licence}


def init_file(path: str | Path) -> Path:
    """The file that contains a decoder's tensors: the given file, or the tensors of a head folder."""
    path = Path(path).expanduser()
    return path / TENSORS if path.is_dir() else path


def decoder_shape(path: str | Path) -> TwoViewConfig | None:
    """Architecture of a fitted head or a released file that a new head starts from; None for CroCo files (no heads).

    Raises:
        CheckpointError: if it cannot be read.
    """
    path = init_file(path)
    if path.name == TENSORS and is_head(path.parent):
        return read_record(path.parent, TASK).own("head", TwoViewConfig)
    checkpoint = read_checkpoint(path)
    names = checkpoint.get("model", checkpoint)
    if not any("downstream_head" in str(name) for name in names):
        return None
    return read_two_view(path, checkpoint).config

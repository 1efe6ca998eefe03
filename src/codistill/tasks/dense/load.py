"""A fitted or released linear head with its encoder: a `Subject` in, features, network and what head.json says out."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from torch import nn

from codistill.errors import ConfigError
from codistill.files.plain import from_plain
from codistill.tasks.shared.features import FrozenFeatures
from codistill.tasks.shared.head_files import TENSORS, HeadRecord, read_record
from codistill.tasks.shared.same_encoder import check_features, say_unknown
from codistill.tasks.task import Subject

Network = TypeVar("Network", bound=nn.Module)
Protocol = TypeVar("Protocol")


@dataclass(frozen=True)
class LoadedHead(Generic[Network, Protocol]):
    """A head and what it stands on, in evaluation mode on the CPU.

    Attributes:
        features, network: encoder and head.
        protocol: how images are seen.
        record: what head.json says; None for a released file.
    """

    features: FrozenFeatures
    network: Network
    protocol: Protocol
    record: HeadRecord | None


def load_dense(
    subject: Subject,
    task: str,
    protocol: type[Protocol],
    released: Protocol | None,
    read: Callable[[Path, Protocol], Network],
    width: Callable[[FrozenFeatures], int],
) -> LoadedHead[Network, Protocol]:
    """A head with its encoder.

    Args:
        subject: names them.
        task: that the head must be for.
        protocol: class of how images are seen.
        released: how a released file's images are, which it does not say; None if nobody said it.
        read: a file and the protocol to the network, which has a `config.channels`.
        width: channels of a head's input map.

    Raises:
        CheckpointError: if it cannot be read.
        ConfigError: if the encoder does not fit the head, or something is not named.
    """
    if subject.model is not None or subject.head is None:
        raise ConfigError(
            "which head? add --head HEAD (a folder of `codistill fit`, or a released .pth file)"
        )
    path, record = subject.head.expanduser(), None
    if path.is_file():
        if subject.features is None or not subject.features.encoder or released is None:
            raise ConfigError(
                f"{path}: a released head says neither its encoder nor what it was fitted on: add --encoder, and "
                "--data or --kind"
            )
        say_unknown(path, subject.features.encoder)
        network, seen, config = read(path, released), released, subject.features
    else:
        record = read_record(path, task)
        seen = from_plain(protocol, record.test, f"{path}: test")
        network, config = read(path / TENSORS, seen), subject.features or record.features
    features = FrozenFeatures(config)
    expected, given = network.config.channels, width(features)  # type: ignore[attr-defined]
    if expected != given:
        projected = f" after the projector of {config.projector}" if config.projector else ""
        raise ConfigError(
            f"{path} takes features of {expected} channels; {config.encoder}{projected} with blocks "
            f"{','.join(map(str, config.blocks))} gives {given}. Use the encoder that the head was fitted on, name as "
            "many blocks (--blocks), or project into its space (--projector TEACHER --denormalize)."
        )
    if record is not None:
        check_features(path, record, features, subject.other_encoder)
    return LoadedHead(features, network.eval(), seen, record)


def refuse_kind(subject: Subject) -> None:
    """Raise ConfigError where a layout is named for a head that says itself what it was fitted on."""
    if subject.head is not None and subject.head.expanduser().is_dir():
        raise ConfigError(
            f"--kind would have no effect: {subject.head} says itself what it was fitted on. It is for released files."
        )

"""Load a fitted or released linear head with its encoder: from a `Subject` to features, network and record."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from codistill.errors import ConfigError
from codistill.imaging.normalize import normalized
from codistill.nn.precision import autocast
from codistill.tasks.shared.features import FrozenFeatures
from codistill.tasks.shared.head_files import TENSORS, HeadRecord, read_record, read_tensors
from codistill.tasks.shared.same_encoder import check_features, say_unknown
from codistill.tasks.task import Subject
from codistill.types import Tokens

Network = TypeVar("Network", bound=nn.Module)
Protocol = TypeVar("Protocol")


@dataclass(frozen=True, kw_only=True)
class DenseAnswer:
    """The output of a dense head, described for programs that use an exported one.

    Attributes:
        name: name of the output.
        channels: channels per pixel; None: one per class.
        meaning: meaning of the values.
        with_cls: whether the head needs class tokens.
    """

    name: str
    channels: int | None
    meaning: str
    with_cls: bool = False


@dataclass
class DenseModel(Generic[Network, Protocol]):
    """An encoder with a dense head; tasks derive their models from it and define how to call them on images.

    Attributes:
        features, head: on one device, in evaluation mode.
        protocol: protocol of the data set that the head was fitted on.
    """

    gives: ClassVar[DenseAnswer]
    """Description of the head's output."""

    features: FrozenFeatures
    head: Network
    protocol: Protocol

    @property
    def device(self) -> torch.device:
        return next(self.head.parameters()).device

    def describe(self) -> dict[str, Any]:
        return {"encoder": self.features.describe()}

    def to(self, device: torch.device | str) -> Self:
        self.features.to(device)
        self.head.to(device)
        return self

    def seen(
        self, image: UInt8[np.ndarray, "row column 3"], mirror: bool
    ) -> Float[Tensor, "batch 3 row column"]:
        """The normalized image (1, 3, row, column); with `mirror`, also its mirror image (2, …)."""
        images = normalized(torch.from_numpy(np.ascontiguousarray(image))[None].to(self.device))
        return torch.cat((images, images.flip(-1))) if mirror else images

    def autocast(self) -> torch.autocast:
        """Autocast context: bf16 on CUDA."""
        return autocast(self.device)

    def answer(
        self, levels: Sequence[Tokens], size: tuple[int, int]
    ) -> Float[Tensor, "batch channel row column"]:
        """The head's output for an image's levels of tokens, at a size (rows, columns) in pixels."""
        raise NotImplementedError


@dataclass(frozen=True)
class LoadedHead(Generic[Network, Protocol]):
    """A head with its features, in evaluation mode on the CPU.

    Attributes:
        features, network: encoder and head.
        protocol: how images are prepared.
        record: contents of head.json; None for a released file.
    """

    features: FrozenFeatures
    network: Network
    protocol: Protocol
    record: HeadRecord | None


def load_dense(
    subject: Subject,
    task: str,
    protocol: type[Protocol],
    read: Callable[[Path, Protocol], Network],
    *,
    with_cls: bool = False,
    released: Protocol | None = None,
) -> LoadedHead[Network, Protocol]:
    """Load a head with its encoder.

    Args:
        subject: head and encoder, as named by the user.
        task: the task that the head must be for.
        protocol: class of the task's protocol.
        read: given a file and the protocol, returns the network, which has a `config.channels`.
        with_cls: whether class tokens are part of the head's input map.
        released: protocol of a released file, which does not record it; None if the user gave none.

    Raises:
        CheckpointError: if the head cannot be read.
        ConfigError: if the encoder does not fit the head, or a required option is missing.
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
        seen = record.own("test", protocol)
        read_tensors(path)  # raises an error if values are not finite
        network, config = read(path / TENSORS, seen), subject.features or record.features
    features = FrozenFeatures(config, subject.source)
    expected, given = network.config.channels, features.width(with_cls=with_cls)  # type: ignore[attr-defined]
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
    """Raise ConfigError if a layout is given for a head that records what it was fitted on."""
    if subject.head is not None and subject.head.expanduser().is_dir():
        raise ConfigError(
            f"--kind would have no effect: {subject.head} says itself what it was fitted on. It is for released files."
        )

"""Inputs of each sample of a data set, so that stored results derived from them can be checked for changes.

Data sets in files implement `inputs_of(index)`: the files of a sample (or the shard that contains it) and the facts
that lists state about it. They may also implement `shared_inputs()`: what all samples depend on. Samples of other data
sets are read and hashed.
"""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from codistill.files.inputs import Inputs, Part, Row, stamped

SampleInputs = tuple[Path | Part, ...]
"""Files, and facts made by `files.inputs.fact`."""


class Samples(Protocol):
    """A map-style data set."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Any: ...


def inputs_of(data: Samples, rows: Sequence[int] | None = None) -> Inputs:
    """The current inputs of a data set's samples.

    Args:
        data: the data set; if it has no `inputs_of`, every sample is read and hashed.
        rows: indices of the samples; None: all.
    """
    chosen = range(len(data)) if rows is None else rows
    return stamped((sample_inputs(data, index) for index in chosen), shared_inputs(data))


def sample_inputs(data: Samples, index: int) -> SampleInputs:
    """Inputs of one sample."""
    found = getattr(data, "inputs_of", None)
    if found is not None:
        return found(index)
    return ((f"sample {index}", content_hash(data[index])),)


def shared_inputs(data: Samples) -> Row:
    """Inputs that all samples share."""
    found = getattr(data, "shared_inputs", None)
    return () if found is None else found()


def content_hash(value: Any) -> str:
    """A hash of nested arrays, tensors, numbers and texts."""
    digest = hashlib.blake2b(digest_size=16)
    _add(digest, value)
    return digest.hexdigest()


def _add(digest: "hashlib.blake2b", value: Any) -> None:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    digest.update(type(value).__name__.encode())
    if isinstance(value, np.ndarray):
        digest.update(repr((value.shape, value.dtype.str)).encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            _add(digest, getattr(value, field.name))
    elif isinstance(value, Mapping):
        for key, one in value.items():
            _add(digest, (key, one))
    elif isinstance(value, (list, tuple)):
        digest.update(str(len(value)).encode())
        for one in value:
            _add(digest, one)
    else:
        digest.update(repr(value).encode())

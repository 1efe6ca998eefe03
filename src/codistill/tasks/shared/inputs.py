"""What each sample of a data set was made from, for whatever is derived from it and kept.

Data sets that lie in files offer `inputs_of(index)`: the files of a sample (a shard, for samples of shards) and facts
that lists say of it, and may offer `shared_inputs()`: what all samples depend on. Of others the samples are read.
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
"""Files, and facts as `files.inputs.fact` makes them."""


class Samples(Protocol):
    """A map-style data set."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Any: ...


def inputs_of(data: Samples, rows: Sequence[int] | None = None) -> Inputs:
    """What the samples of a data set are made from today.

    Args:
        data: with `inputs_of` where it can; other data is read, every sample of it.
        rows: which samples; None: all.
    """
    chosen = range(len(data)) if rows is None else rows
    return stamped((sample_inputs(data, index) for index in chosen), shared_inputs(data))


def sample_inputs(data: Samples, index: int) -> SampleInputs:
    """What one sample is made from."""
    found = getattr(data, "inputs_of", None)
    if found is not None:
        return found(index)
    return ((f"sample {index}", content_hash(data[index])),)


def shared_inputs(data: Samples) -> Row:
    """What all samples are made from."""
    found = getattr(data, "shared_inputs", None)
    return () if found is None else found()


def content_hash(value: Any) -> str:
    """A hash of arrays, tensors, numbers and texts, however they are nested."""
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

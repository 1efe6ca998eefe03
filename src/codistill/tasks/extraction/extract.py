"""Encode batches of images and write the shards, one file after the other.

Size and time are announced first, measured on the first images. Existing shards are kept.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from codistill.errors import DataError
from codistill.files.inputs import Inputs
from codistill.files.tensors import write_tensors
from codistill.files.writing import remove_leftovers
from codistill.tasks.extraction.changed import HEADER
from codistill.tasks.extraction.layout import DTYPES, FeatureSpec, header_of, shard_path
from codistill.types import BadImage, Batch, Tokens

Encode = Callable[[Tensor], Sequence[Tokens]]
"""Encodes images (batch, 3, row, column): returns one `Tokens` per stored block."""


@dataclass(frozen=True)
class Part:
    """The shards that one process writes: those whose number modulo `count` is `index`."""

    index: int = 0
    count: int = 1

    def of(self, shards: Sequence[int]) -> list[int]:
        """This process's shards, selected by number, so that no two processes write the same one."""
        return [shard for shard in shards if shard % self.count == self.index]


def batches_of(spec: FeatureSpec, shards: Iterable[int]) -> list[range]:
    """Image numbers of every batch of some shards; a batch never extends into the next shard."""
    ranges = []
    for shard in shards:
        rows = spec.rows_of(shard)
        ranges += [rows[start : start + spec.batch_size] for start in range(0, len(rows), spec.batch_size)]
    return ranges


def write_shards(
    folder: Path,
    spec: FeatureSpec,
    shards: Sequence[int],
    batches: Iterable[Batch],
    encode: Encode,
    inputs: Callable[[range], Inputs],
    done: Callable[[int, Sequence[BadImage]], None] = lambda images, bad: None,
) -> None:
    """Encode batches and write their shards.

    Args:
        folder, spec: the output and its contents.
        shards: numbers of the shards to write.
        batches: those of `batches_of(spec, shards)`, in order.
        encode: encodes images to tokens.
        inputs: given image numbers, returns their inputs; called before the images are read.
        done: called after each batch with its number of images and the images that could not be used.

    Raises:
        DataError: if tokens do not fit the number type.
        CheckpointError: if the disk is full or read-only; finished shards stay.
    """
    stream = iter(batches)
    for shard in shards:
        rows = spec.rows_of(shard)
        made_from = inputs(rows)
        buffers = {
            name: torch.empty(len(rows), *shape, dtype=DTYPES[spec.dtype])
            for name, shape in spec.tensor_names().items()
        }
        names: list[str] = []
        bad: list[BadImage] = []
        for batch in _until(stream, len(rows)):
            unusable = {image.name for image in batch.bad}
            good = [row for row, name in enumerate(batch.names) if name not in unusable]
            tensors = tensors_of(encode(batch.images), spec) if good else {}
            for name, tensor in tensors.items():
                chosen = tensor[good] if unusable else tensor
                buffers[name][len(names) : len(names) + len(good)] = _narrowed(chosen, spec, batch)
            names += [batch.names[row] for row in good]
            bad += batch.bad
            done(len(batch), batch.bad)
        kept = {name: buffer[: len(names)].contiguous() for name, buffer in buffers.items()}
        _save(shard_path(folder, shard), kept, names, bad, made_from)


def _until(stream: Iterator[Batch], images: int) -> Iterator[Batch]:
    """The next batches, until they hold `images` images."""
    while images > 0:
        batch = next(stream)
        images -= len(batch)
        yield batch


def tensors_of(blocks: Sequence[Tokens], spec: FeatureSpec) -> dict[str, Tensor]:
    """Name the tokens as in a shard."""
    found = {}
    for prefix, tokens in zip([f"block{b}." for b in spec.blocks] or [""], blocks, strict=True):
        found[f"{prefix}patches"] = tokens.patches
        if tokens.cls is not None:
            found[f"{prefix}cls"] = tokens.cls
    return {name: found[name] for name in spec.tensor_names()}


def _narrowed(tensor: Tensor, spec: FeatureSpec, batch: Batch) -> Tensor:
    """A copy on the host, in the number type of the folder."""
    narrow = tensor.to(DTYPES[spec.dtype]).cpu()
    if not narrow.isfinite().all():
        raise DataError(
            f"tokens of {batch.names[0]} and the images after it do not fit {spec.dtype} (the largest is "
            f"{tensor.abs().max().item():.3g}); use --dtype bf16 or fp32, or the tokens after the norm"
        )
    return narrow


def _save(
    path: Path, tensors: Mapping[str, Tensor], names: list[str], bad: list[BadImage], inputs: Inputs
) -> None:
    told = {
        "names": names,
        "bad": [[image.name, image.reason] for image in bad],
        HEADER: [[list(part) for part in row] for row in inputs.rows],
    }
    remove_leftovers(path.parent, f"{path.name}*")
    write_tensors(path, tensors, header_of(told))


def seconds_per_image(batches: Iterable[Batch], encode: Encode) -> float:
    """Seconds per image, measured on the second of two batches with loading and encoding in turn: an upper bound."""
    spent, images = 0.0, 1
    stream = iter(batches)
    while True:
        start = time.perf_counter()
        batch = next(stream, None)
        if batch is None:
            return spent / images
        _ = [tokens.patches.sum().item() for tokens in encode(batch.images)]
        spent, images = time.perf_counter() - start, len(batch)

"""Read extracted features: tokens of any images by number or name, directly from the files.

features = open_features("features/photos")
len(features), features.names[7], features.spec.grid
tokens = features[7]                       # `Tokens` of one image, or of a list of them
tokens = features.by_name("a/b.jpg")
tokens = features.tokens([0, 5, 2], block=8)
"""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from codistill.errors import DataError, unknown_name
from codistill.files.writing import atomically
from codistill.tasks.extraction.layout import INDEX, FeatureSpec, missing_shards, read_spec, shard_path
from codistill.types import Tokens


def read_header(path: Path) -> tuple[list[str], list[tuple[str, str]]]:
    """Read the names of a shard's images, and (name, reason) of those that were left out.

    Raises:
        DataError: if the file is damaged.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            header = file.metadata() or {}
        return json.loads(header["names"]), [tuple(pair) for pair in json.loads(header["bad"])]
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise DataError(f"{path}: damaged shard ({error}); remove it and run the extraction again") from error


def write_index(folder: Path) -> tuple[int, int]:
    """Write the index from the headers of all shards.

    Returns:
        Numbers of images kept and left out.

    Raises:
        DataError: if a shard is missing or damaged.
        CheckpointError: if it cannot be written.
    """
    spec = read_spec(folder)
    missing = missing_shards(folder, spec)
    if missing:
        raise DataError(
            f"{folder}: {len(missing)} of {spec.shards} shards are missing; run the extraction again"
        )
    columns: dict[str, list[Any]] = {"name": [], "shard": [], "row": []}
    left_out = 0
    for shard in range(spec.shards):
        names, bad = read_header(shard_path(folder, shard))
        columns["name"] += names
        columns["shard"] += [shard] * len(names)
        columns["row"] += range(len(names))
        left_out += len(bad)
    schema = pa.schema([("name", pa.string()), ("shard", pa.int32()), ("row", pa.int32())])
    with atomically(folder / INDEX) as partial:
        pq.write_table(pa.table(columns, schema=schema), partial, compression="zstd")
    return len(columns["name"]), left_out


class Features:
    """A folder of extracted features; images are numbered as in the source, without those that were left out.

    Args:
        folder: finished output of `codistill extract`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.spec: FeatureSpec = read_spec(folder)
        path = folder / INDEX
        try:
            self._index = pq.read_table(path, memory_map=True)
            self._shard = self._index.column("shard").to_numpy()
            self._row = self._index.column("row").to_numpy()
        except FileNotFoundError:
            count = len(missing_shards(folder, self.spec))
            raise DataError(
                f"{folder}: is not finished ({count} of {self.spec.shards} shards are missing); run the same "
                "`codistill extract` again"
            ) from None
        except (OSError, pa.ArrowException, KeyError) as error:
            raise DataError(f"{path}: damaged index ({error}); run the extraction again") from error
        self._files: dict[int, Any] = {}

    def __len__(self) -> int:
        return len(self._row)

    @cached_property
    def names(self) -> list[str]:
        return self._index.column("name").to_pylist()

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.names)}

    def __getitem__(self, number: int | Sequence[int]) -> Tokens:
        """Tokens of one image (a batch of one) or of several."""
        return self.tokens([number] if isinstance(number, int) else number)

    def by_name(self, name: str) -> Tokens:
        """Tokens of an image, found by its name in the source.

        Raises:
            DataError: for an unknown name.
        """
        if name not in self._numbers:
            near = [known for known in self.names if known.rsplit("/", 1)[-1] == name.rsplit("/", 1)[-1]]
            raise DataError(f"{self.folder}: {unknown_name('image', name, near or self.names[:20])}")
        return self[self._numbers[name]]

    def tokens(self, numbers: Sequence[int], block: int | None = None) -> Tokens:
        """Tokens of some images, in the given order and in the number type of the files.

        Args:
            numbers: numbers of the images; negative ones count from the end.
            block: block whose tokens are read, if several were stored; None: the last one.

        Raises:
            DataError: if the block was not stored, or a shard is damaged.
            IndexError: for a number out of range.
        """
        spec = self.spec
        if block is not None and block not in spec.blocks:
            raise DataError(
                f"{self.folder}: has no tokens of block {block}; blocks: {list(spec.blocks) or 'output'}"
            )
        prefix = f"block{spec.blocks[-1] if block is None else block}." if spec.blocks else ""
        patches = self._stack(f"{prefix}patches", numbers) if "patch" in spec.kinds else None
        cls = self._stack(f"{prefix}cls", numbers) if "cls" in spec.kinds else None
        if patches is None:
            assert cls is not None
            patches = cls.new_zeros(len(numbers), 0, spec.dim)
        return Tokens(patches=patches, grid=spec.grid, cls=cls, normed=spec.norm)

    def _stack(self, name: str, numbers: Sequence[int]) -> Tensor:
        rows = []
        for number in numbers:
            shard, row = int(self._shard[number]), int(self._row[number])
            rows.append(self._file(shard).get_slice(name)[row : row + 1])
        return torch.cat(rows)

    def _file(self, shard: int) -> Any:
        if shard not in self._files:
            path = shard_path(self.folder, shard)
            try:
                self._files[shard] = safe_open(str(path), framework="pt")
            except (OSError, SafetensorError) as error:
                raise DataError(f"{path}: missing or damaged ({error}); run the extraction again") from error
        return self._files[shard]


def open_features(folder: str | Path) -> Features:
    """Open features that `codistill extract` wrote.

    Raises:
        DataError: if there are none, they are not finished, or they are damaged.
    """
    return Features(Path(folder).expanduser())

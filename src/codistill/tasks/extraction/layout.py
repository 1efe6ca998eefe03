"""What a folder of extracted features looks like, and how large it will be.

    DIR/features.json              what it holds: encoder, sizes, source, images (`FeatureSpec`)
        shard_00000.safetensors    `patches` (image, patch, channel), `cls` (image, channel); with several blocks,
                                   `block8.patches` …; in the header, the images' names, what was left out, and the
                                   stamps of the files that all of them came from
        index.parquet              name, shard, row of every image; written when all shards are there

A shard appears whole or not at all, so an interrupted extraction goes on with the shards that are missing, and makes
those again whose images changed.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from codistill.errors import ConfigError, DataError
from codistill.files.config import changed_fields
from codistill.files.disk import check_room, size_text
from codistill.files.plain import from_plain
from codistill.files.writing import make_directory, remove_quietly, write_atomic

SPEC, INDEX, PATTERN = "features.json", "index.parquet", "shard_{:05d}.safetensors"
DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}
FORMAT_VERSION = 1
_SHARD_BYTES = 2**30
"""Bytes of the disk that stay free."""

Fit = Literal["crop", "stretch"]


@dataclass(frozen=True, kw_only=True)
class FeatureSpec:
    """What a folder of features holds.

    Attributes:
        source: where the images are, as it was given.
        images: of the source.
        encoder, licence: whose features, and what the licence of its weights is.
        image_size: side in pixels of the square images that the encoder saw.
        fit: `crop`: shorter side resized, then the central square; `stretch`: both sides resized.
        grid: rows and columns of patch tokens.
        dim: channels.
        blocks: which blocks' tokens, 0-based; empty: the encoder's output.
        norm: whether its final norm was applied.
        teacher: for a student's projections, onto whom; empty: the encoder's own tokens.
        kinds: `cls` and/or `patch`.
        dtype: `fp16`, `bf16`, `fp32`.
        images_per_shard, batch_size: how they are cut; tokens may depend on the batch in their last digits.
        weights: SHA-256 over architecture and weights of the encoder or student; empty in folders of older versions.
        precision: that the encoder computed in.
        limit: the first so many images of the source were asked for; None: all.
        denormalized: projections are in the teacher's own space.
    """

    source: str
    images: int
    encoder: str
    licence: str
    image_size: int
    fit: Fit
    grid: tuple[int, int]
    dim: int
    blocks: tuple[int, ...]
    norm: bool
    teacher: str
    kinds: tuple[str, ...]
    dtype: Literal["fp16", "bf16", "fp32"]
    images_per_shard: int
    batch_size: int
    weights: str = ""
    precision: str = ""
    limit: int | None = None
    denormalized: bool = False
    version: int = FORMAT_VERSION

    @property
    def shards(self) -> int:
        """Number of shards."""
        return -(-self.images // self.images_per_shard)

    def rows_of(self, shard: int) -> range:
        """The source's images that a shard covers."""
        start = shard * self.images_per_shard
        return range(start, min(start + self.images_per_shard, self.images))

    @property
    def bytes_per_image(self) -> int:
        """Of all its tokens."""
        return image_bytes(self.grid, self.dim, self.kinds, len(self.blocks), self.dtype)

    def tensor_names(self) -> dict[str, tuple[int, ...]]:
        """Shape per image of every tensor in a shard."""
        patches = (self.grid[0] * self.grid[1], self.dim)
        shapes: dict[str, tuple[int, ...]] = {"patches": patches, "cls": (self.dim,)}
        kept = [name for kind, name in (("patch", "patches"), ("cls", "cls")) if kind in self.kinds]
        prefixes = [f"block{block}." for block in self.blocks] or [""]
        return {f"{prefix}{name}": shapes[name] for prefix in prefixes for name in kept}


def image_bytes(grid: tuple[int, int], dim: int, kinds: tuple[str, ...], blocks: int, dtype: str) -> int:
    """Bytes that an image's tokens take."""
    tokens = ("patch" in kinds) * grid[0] * grid[1] + ("cls" in kinds)
    return tokens * dim * max(1, blocks) * DTYPES[dtype].itemsize


def default_shard(bytes_per_image: int, batch_size: int) -> int:
    """Images of a shard of about 1 GiB: whole batches, one at least."""
    return max(1, _SHARD_BYTES // (bytes_per_image * batch_size)) * batch_size


def shard_path(folder: Path, shard: int) -> Path:
    """Where a shard is."""
    return folder / PATTERN.format(shard)


def missing_shards(folder: Path, spec: FeatureSpec) -> list[int]:
    """Shards that are not there yet."""
    return [shard for shard in range(spec.shards) if not shard_path(folder, shard).exists()]


def read_spec(folder: Path) -> FeatureSpec:
    """What a folder holds.

    Raises:
        DataError: if it holds no features, or its description is damaged or of a newer version.
    """
    path = folder / SPEC
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        spec = from_plain(FeatureSpec, plain)
    except FileNotFoundError:
        raise DataError(
            f"{folder}: holds no extracted features (there is no {SPEC}); make some with `codistill extract`"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: damaged, or written by another version: {error}") from error
    if spec.version != FORMAT_VERSION:
        raise DataError(
            f"{path}: is of version {spec.version}; this codistill reads version {FORMAT_VERSION}"
        )
    return spec


def begin(folder: Path, spec: FeatureSpec) -> None:
    """Make the folder say what it is going to hold; one that already says so is gone on with.

    The number of images may be another: shards of images that stayed are kept (`changed.py`).

    Raises:
        ConfigError: if it holds, or is to hold, other features.
        CheckpointError: if it cannot be written.
    """
    make_directory(folder)
    if not (folder / SPEC).exists():
        write_atomic(folder / SPEC, json.dumps(asdict(spec), indent=2) + "\n")
        return
    old = read_spec(folder)
    changes = changed_fields(old, spec)
    if changes and not changed_fields(replace(old, images=spec.images), spec):
        remove_quietly(folder / INDEX)
        write_atomic(folder / SPEC, json.dumps(asdict(spec), indent=2) + "\n")
    elif changes:
        raise ConfigError(
            f"{folder} holds other features: {'; '.join(changes)}. Give the same options to go on, or another --out."
        )


def check_space(folder: Path, spec: FeatureSpec, images: int) -> str:
    """What is still to be written, as a sentence.

    Raises:
        ConfigError: if it is not free on the disk.
    """
    what = f"{images} images of {size_text(spec.bytes_per_image)} each"
    advice = "Name a larger disk (--out), a smaller --size, --kinds cls, or some of the images (--limit)."
    return check_room(what, images * spec.bytes_per_image, folder, advice)


def header_of(values: Mapping[str, Any]) -> dict[str, str]:
    """A safetensors header: text by name."""
    return {name: json.dumps(value, ensure_ascii=False) for name, value in values.items()}

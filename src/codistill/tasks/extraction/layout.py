"""Layout and size of a folder of extracted features.

    DIR/features.json              encoder, sizes, source, images (`FeatureSpec`)
        shard_00000.safetensors    `patches` (image, patch, channel), `cls` (image, channel); with several blocks,
                                   `block8.patches` …; in the header, names of the images, those left out, and the
                                   stamps of their files
        index.parquet              name, shard, row of every image; written once all shards exist

A shard is written atomically. An interrupted extraction resumes with the missing shards, and with those whose images
changed.
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
"""Approximate size of a shard in bytes."""

Fit = Literal["crop", "stretch"]


@dataclass(frozen=True, kw_only=True)
class FeatureSpec:
    """The contents of a folder of features.

    Attributes:
        source: source of the images, as given by the user.
        images: number of the source's images.
        encoder, licence: name of the encoder, and licence of its weights.
        image_size: side in pixels of the square images that the encoder saw.
        fit: `crop`: shorter side resized, then the central square; `stretch`: both sides resized.
        grid: rows and columns of patch tokens.
        dim: channels of a token.
        blocks: blocks whose outputs are stored, 0-based; empty: the encoder's output.
        norm: whether the encoder's final norm was applied.
        teacher: teacher onto which a student's tokens are projected; empty: the encoder's own tokens.
        kinds: `cls` and/or `patch`.
        dtype: `fp16`, `bf16`, `fp32`.
        images_per_shard, batch_size: how images are divided into shards and batches; the last digits of tokens may
            depend on the batch.
        weights: SHA-256 over architecture and weights of the encoder or student; empty in folders of older versions.
        precision: precision of the encoder.
        limit: number of the source's images, from the first; None: all.
        denormalized: whether projections are in the teacher's own feature space.
        cls_dim: channels of a class token, if they are not `dim`.
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
    cls_dim: int | None = None
    version: int = FORMAT_VERSION

    @property
    def shards(self) -> int:
        return -(-self.images // self.images_per_shard)

    def rows_of(self, shard: int) -> range:
        """Indices of the source's images that belong to a shard."""
        start = shard * self.images_per_shard
        return range(start, min(start + self.images_per_shard, self.images))

    @property
    def bytes_per_image(self) -> int:
        cls_dim = self.cls_dim or self.dim
        return image_bytes(self.grid, self.dim, cls_dim, self.kinds, len(self.blocks), self.dtype)

    def tensor_names(self) -> dict[str, tuple[int, ...]]:
        """Shape per image of each tensor in a shard, by name."""
        patches = (self.grid[0] * self.grid[1], self.dim)
        shapes: dict[str, tuple[int, ...]] = {"patches": patches, "cls": (self.cls_dim or self.dim,)}
        kept = [name for kind, name in (("patch", "patches"), ("cls", "cls")) if kind in self.kinds]
        prefixes = [f"block{block}." for block in self.blocks] or [""]
        return {f"{prefix}{name}": shapes[name] for prefix in prefixes for name in kept}


def image_bytes(
    grid: tuple[int, int], dim: int, cls_dim: int, kinds: tuple[str, ...], blocks: int, dtype: str
) -> int:
    """Bytes of an image's tokens."""
    numbers = ("patch" in kinds) * grid[0] * grid[1] * dim + ("cls" in kinds) * cls_dim
    return numbers * max(1, blocks) * DTYPES[dtype].itemsize


def default_shard(bytes_per_image: int, batch_size: int) -> int:
    """Images in a shard of about 1 GiB: whole batches, at least one."""
    return max(1, _SHARD_BYTES // (bytes_per_image * batch_size)) * batch_size


def shard_path(folder: Path, shard: int) -> Path:
    return folder / PATTERN.format(shard)


def missing_shards(folder: Path, spec: FeatureSpec) -> list[int]:
    """Shards without a file."""
    return [shard for shard in range(spec.shards) if not shard_path(folder, shard).exists()]


def read_spec(folder: Path) -> FeatureSpec:
    """Read features.json of a folder.

    Raises:
        DataError: if the folder holds no features, or features.json is damaged or of a newer version.
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
    """Write features.json, or resume in a folder that already has the same.

    The number of images may differ: shards of unchanged images are kept (`changed.py`).

    Raises:
        ConfigError: if the folder holds other features.
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
            f"{folder} holds other features: {'; '.join(changes)}. Give the same options to resume, or another --out."
        )


def check_space(folder: Path, spec: FeatureSpec, images: int) -> str:
    """State the size of what is still to be written, in one sentence.

    Raises:
        ConfigError: if the disk has less free space.
    """
    what = f"{images} images of {size_text(spec.bytes_per_image)} each"
    advice = "Name a larger disk (--out), a smaller --size, --kinds cls, or some of the images (--limit)."
    return check_room(what, images * spec.bytes_per_image, folder, advice)


def header_of(values: Mapping[str, Any]) -> dict[str, str]:
    """Header of a safetensors file: JSON text by name."""
    return {name: json.dumps(value, ensure_ascii=False) for name, value in values.items()}

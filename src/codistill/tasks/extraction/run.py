"""Run an extraction from start to end: from a source and a config to a folder of features; the same call resumes.

Several processes can share a folder: each makes its own part of the files, and the last one writes the index.
"""

import hashlib
import json
import time
from collections.abc import Sequence

import torch
from torch import Tensor

from codistill.data import Source
from codistill.encoders.fingerprint import add_weights
from codistill.errors import ConfigError, DataError
from codistill.nn.precision import autocast, in_bf16
from codistill.tasks.extraction.changed import changed_shards, remove_shards, shard_inputs, surplus_shards
from codistill.tasks.extraction.config import Extraction
from codistill.tasks.extraction.extract import Encode, Part, batches_of, seconds_per_image, write_shards
from codistill.tasks.extraction.images import image_batches
from codistill.tasks.extraction.layout import (
    FeatureSpec,
    begin,
    check_space,
    default_shard,
    image_bytes,
    missing_shards,
)
from codistill.tasks.extraction.read import write_index
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.features import FrozenFeatures
from codistill.tasks.shared.progress import duration, shown
from codistill.types import BadImage, Tokens
from codistill.weights.export import as_json


def extract(
    source: Source, config: Extraction, part: Part, runtime: Runtime, *, dry_run: bool = False
) -> None:
    """Write the shards of a part that are missing, or whose images changed.

    Args:
        source: source of the images.
        config: which features to store.
        part: which shards this process writes.
        runtime: where and how to compute; its console announces size and time first.
        dry_run: announce only, write nothing.

    Raises:
        ConfigError: if the folder holds other features, or the disk is too small.
        DataError: if tokens do not fit the number type, or no image can be used.
        CheckpointError: if nothing can be written.
    """
    out, features = runtime.out, FrozenFeatures(config.features).to(runtime.device)

    @torch.inference_mode()
    def encode(images: Tensor) -> list[Tokens]:
        with autocast(runtime.device, config.precision):
            return features(images)

    spec = spec_of(source, config, features, encode, runtime.device)
    if not dry_run:
        begin(out, spec)
    stale, text = changed_shards(out, spec, source, part.of(range(spec.shards)))
    if stale:
        runtime.say(
            f"images changed since their features were made ({text}): {len(stale)} of {spec.shards} files are made "
            "again"
        )
    surplus = surplus_shards(out, spec)
    if not dry_run and (stale or surplus):
        remove_shards(out, [*stale, *surplus])
    shards = sorted({*stale, *part.of(missing_shards(out, spec))})
    _announce(spec, shards, source, encode, runtime)
    if dry_run:
        return
    for image in _write(spec, shards, source, encode, runtime)[:5]:
        runtime.say(f"left out: {image.reason}")
    missing = missing_shards(out, spec)
    if missing:
        runtime.say(f"this part is done; {len(missing)} of {spec.shards} files are other parts'")
        return
    there, left_out = write_index(out)
    if not there:
        raise DataError(
            f"{out}: none of the {left_out} images of {spec.source} can be used, so it holds no features"
        )
    runtime.say(f"{out}: features of {there} images, {left_out} left out as unusable")


def spec_of(
    source: Source, config: Extraction, features: FrozenFeatures, encode: Encode, device: torch.device
) -> FeatureSpec:
    """Determine the contents of the folder by encoding one black image.

    Raises:
        ConfigError: if the encoder has no such blocks or tokens.
    """
    encoder, wanted = features.encoder.spec, config.features.blocks
    size = max(1, round(config.size / encoder.patch_size)) * encoder.patch_size
    probe = encode(torch.zeros(1, 3, size, size, device=device))[0]
    blocks = () if wanted == (-1,) else tuple(block % encoder.depth for block in wanted)
    if len(set(blocks)) != len(blocks):
        raise ConfigError(f"--blocks {' '.join(map(str, wanted))}: each block may be given once")
    kinds = tuple(kind for kind in config.kinds.split("+") if kind == "patch" or probe.cls is not None)
    if not kinds:
        raise ConfigError(f"--kinds {config.kinds}: this encoder has no class token")
    dim = probe.patches.shape[-1]
    cls_dim = dim if probe.cls is None else probe.cls.shape[-1]
    each = image_bytes(probe.grid, dim, cls_dim, kinds, len(blocks), config.dtype)
    shard = config.shard_images or default_shard(each, config.batch_size)
    return FeatureSpec(
        source=source.config.path,
        images=min(len(source), config.limit or len(source)),
        encoder=encoder.name,
        licence=encoder.licence,
        image_size=size,
        fit=config.fit,
        grid=probe.grid,
        dim=dim,
        blocks=blocks,
        norm=probe.normed,
        teacher=config.features.projector or "",
        denormalized=config.features.denormalize,
        cls_dim=None if cls_dim == dim else cls_dim,
        kinds=kinds,
        dtype=config.dtype,
        images_per_shard=-(-shard // config.batch_size) * config.batch_size,
        batch_size=config.batch_size,
        weights=_fingerprint(features),
        precision="bf16" if in_bf16(device, config.precision) else "fp32",
        limit=config.limit,
    )


def _fingerprint(features: FrozenFeatures) -> str:
    """SHA-256 over the encoder's architecture and all weights, including those of projectors."""
    digest = hashlib.sha256(json.dumps(as_json(features.encoder.architecture()), sort_keys=True).encode())
    add_weights(digest, features.encoder if features.student is None else features.student)
    return digest.hexdigest()


def _announce(
    spec: FeatureSpec, shards: Sequence[int], source: Source, encode: Encode, runtime: Runtime
) -> None:
    """Print size and time before anything is written."""
    images = sum(len(spec.rows_of(shard)) for shard in shards)
    runtime.say(
        f"{spec.encoder}{f' onto {spec.teacher}' if spec.teacher else ''} (licence: {spec.licence}): "
        f"{'+'.join(spec.kinds)} tokens, {spec.grid[0]}x{spec.grid[1]} grid, {spec.dim} channels, {spec.dtype}, "
        f"from {spec.image_size} px"
    )
    if images == 0:
        return
    runtime.say(check_space(runtime.out, spec, images))
    first = spec.rows_of(shards[0])[: 2 * spec.batch_size]
    half = max(1, len(first) // 2)
    probes = [first[:half], first[half:]] if len(first) > 1 else [first]
    probe = image_batches(
        source, probes, size=spec.image_size, fit=spec.fit, workers=0, device=runtime.device
    )
    seconds = seconds_per_image(probe, encode) * images
    ending = f", {time.strftime('%d %b %H:%M', time.localtime(time.time() + seconds))} at the latest"
    runtime.say(
        f"{len(shards)} of {spec.shards} files to make; about {duration(seconds)}{ending if seconds > 60 else ''}"
    )


def _write(
    spec: FeatureSpec, shards: Sequence[int], source: Source, encode: Encode, runtime: Runtime
) -> list[BadImage]:
    """Write the shards; return the images left out."""
    bad: list[BadImage] = []
    ranges = batches_of(spec, shards)
    if not ranges:
        return bad
    batches = image_batches(
        source, ranges, size=spec.image_size, fit=spec.fit, workers=runtime.workers, device=runtime.device
    )
    made = 0
    with shown(runtime, "extracting", sum(map(len, ranges))) as report:

        def done(images: int, found: Sequence[BadImage]) -> None:
            nonlocal made
            made += images
            bad.extend(found)
            report(made)

        write_shards(
            runtime.out, spec, shards, batches, encode, lambda rows: shard_inputs(source, rows), done
        )
    return bad

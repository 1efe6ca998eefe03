"""`codistill extract SOURCE --encoder E --out DIR`: dense features of any image source; the same command goes on."""

import argparse
import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from codistill.commands.parsers.extract import parse
from codistill.data import Source, SourceConfig, open_source
from codistill.encoders.base import Encoder
from codistill.encoders.fingerprint import add_weights
from codistill.encoders.load import load_encoder
from codistill.engine.distributed import choose_device
from codistill.errors import ConfigError, unknown_name
from codistill.nn.precision import autocast
from codistill.student.load import load_student
from codistill.student.student import Student
from codistill.tasks.extraction.changed import (
    changed_shards,
    remove_shards,
    shard_inputs,
    surplus_shards,
)
from codistill.tasks.extraction.extract import Part, batches_of, seconds_per_image, write_shards
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
from codistill.types import BadImage, Tokens
from codistill.weights.export import as_json


@dataclass(frozen=True)
class _Reader:
    """Images to the tokens that are kept."""

    encoder: Encoder
    student: Student | None
    teacher: str
    blocks: tuple[int, ...]
    norm: bool
    device: torch.device
    precision: str

    def fingerprint(self) -> str:
        """SHA-256 over the encoder's architecture and all weights, those of the projectors included."""
        digest = hashlib.sha256(json.dumps(as_json(self.encoder.architecture()), sort_keys=True).encode())
        add_weights(digest, self.encoder if self.student is None else self.student)
        return digest.hexdigest()

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Sequence[Tokens]:
        with autocast(self.device, self.precision):  # type: ignore[arg-type]
            if self.student is not None:
                outputs = self.encoder.intermediate(images, self.student.projector_blocks, norm=False)
                return [self.student.project(outputs, self.teacher)]
            if self.blocks:
                return self.encoder.intermediate(images, self.blocks, norm=self.norm)
            return [self.encoder(images, norm=self.norm)]


def _reader(arguments: argparse.Namespace, device: torch.device) -> _Reader:
    if arguments.teacher and (arguments.blocks or arguments.no_norm):
        raise ConfigError("--teacher keeps a projection: --blocks and --no-norm have no meaning beside it")
    student = load_student(arguments.encoder).to(device) if arguments.teacher else None
    encoder = student.encoder if student is not None else load_encoder(arguments.encoder).to(device)
    depth = encoder.spec.depth
    if any(not -depth <= block < depth for block in arguments.blocks):
        raise ConfigError(f"--blocks {arguments.blocks}: the encoder has blocks 0 to {depth - 1}")
    blocks = tuple(block % depth for block in arguments.blocks)
    if len(set(blocks)) != len(blocks):
        raise ConfigError(f"--blocks {arguments.blocks}: a block is there twice")
    if student is not None and arguments.teacher not in student.projectors:
        raise ConfigError(unknown_name("teacher", arguments.teacher, student.projectors))
    return _Reader(
        encoder, student, arguments.teacher, blocks, not arguments.no_norm, device, arguments.precision
    )


def _spec(arguments: argparse.Namespace, source: Source, reader: _Reader) -> FeatureSpec:
    patch = reader.encoder.spec.patch_size
    size = max(1, round(arguments.size / patch)) * patch
    probe = reader(torch.zeros(1, 3, size, size, device=reader.device))[0]
    wanted = arguments.kinds.split("+")
    if not set(wanted) <= {"patch", "cls"} or (wanted == ["cls"] and probe.cls is None):
        raise ConfigError(
            f"--kinds {arguments.kinds}: must be patch, cls or patch+cls"
            + (", and this encoder has no class token" if probe.cls is None else "")
        )
    kinds = tuple(kind for kind in wanted if kind == "patch" or probe.cls is not None)
    dim = probe.patches.shape[-1]
    each = image_bytes(probe.grid, dim, kinds, len(reader.blocks), arguments.dtype)
    shard = arguments.shard_images or default_shard(each, arguments.batch_size)
    images = min(len(source), arguments.limit or len(source))
    return FeatureSpec(
        source=arguments.source,
        images=images,
        encoder=reader.encoder.spec.name,
        licence=reader.encoder.spec.licence,
        image_size=size,
        fit=arguments.fit,
        grid=probe.grid,
        dim=dim,
        blocks=reader.blocks,
        norm=probe.normed,
        teacher=arguments.teacher,
        kinds=kinds,
        dtype=arguments.dtype,
        images_per_shard=-(-shard // arguments.batch_size) * arguments.batch_size,
        batch_size=arguments.batch_size,
        weights=reader.fingerprint(),
        precision=_computed_in(arguments.precision, reader.device),
        limit=arguments.limit,
    )


def _computed_in(precision: str, device: torch.device) -> str:
    return "bf16" if precision == "auto" and device.type == "cuda" else precision.replace("auto", "fp32")


def _part(text: str | None) -> Part:
    text = text or f"{os.environ.get('RANK', '0')}/{os.environ.get('WORLD_SIZE', '1')}"
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise ConfigError(f"--part {text}: write I/N with I from 0 to N - 1, e.g. --part 0/4")
    return Part(int(index), int(count))


def main(argv: list[str]) -> int:
    """Run the command."""
    arguments = parse(argv)
    for name in ("size", "batch_size", "shard_images", "limit"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise ConfigError(f"--{name.replace('_', '-')} must be positive; got {value}")
    console = Console(stderr=True)
    part = _part(arguments.part)
    device = choose_device(arguments.device, int(os.environ.get("LOCAL_RANK", "0")))
    source = open_source(SourceConfig(name="images", path=arguments.source))
    reader = _reader(arguments, device)
    spec = _spec(arguments, source, reader)
    if not arguments.dry_run:
        begin(arguments.out, spec)
    own = part.of(range(spec.shards))
    stale, text = changed_shards(arguments.out, spec, source, own)
    if stale:
        console.print(
            f"images changed since their features were made ({text}): {len(stale)} of {spec.shards} files are made "
            "again",
            highlight=False,
            soft_wrap=True,
        )
    if not arguments.dry_run and (stale or surplus_shards(arguments.out, spec)):
        remove_shards(arguments.out, [*stale, *surplus_shards(arguments.out, spec)])
    shards = sorted({*stale, *part.of(missing_shards(arguments.out, spec))})
    _announce(arguments, spec, shards, source, reader, console)
    if arguments.dry_run:
        return 0
    bad = _run(arguments, spec, shards, source, reader, console)
    for image in bad[:5]:
        console.print(f"left out: {image.reason}", highlight=False, soft_wrap=True)
    missing = missing_shards(arguments.out, spec)
    if missing:
        console.print(f"this part is done; {len(missing)} of {spec.shards} files are other parts'")
        return 0
    there, left_out = write_index(arguments.out)
    console.print(f"{arguments.out}: features of {there} images, {left_out} left out as unusable")
    return 0


def _announce(
    arguments: argparse.Namespace,
    spec: FeatureSpec,
    shards: Sequence[int],
    source: Source,
    reader: _Reader,
    console: Console,
) -> None:
    """Size and time, before anything is written."""
    images = sum(len(spec.rows_of(shard)) for shard in shards)
    console.print(
        f"{spec.encoder}{f' onto {spec.teacher}' if spec.teacher else ''} (licence: {spec.licence}): "
        f"{'+'.join(spec.kinds)} tokens, {spec.grid[0]}x{spec.grid[1]} grid, {spec.dim} channels, {spec.dtype}, "
        f"from {spec.image_size} px",
        highlight=False,
    )
    if images == 0:
        return
    console.print(check_space(arguments.out, spec, images), highlight=False)
    first = spec.rows_of(shards[0])[: 2 * spec.batch_size]
    half = max(1, len(first) // 2)
    probes = [first[:half], first[half:]] if len(first) > 1 else [first]
    probe = image_batches(source, probes, size=spec.image_size, fit=spec.fit, workers=0, device=reader.device)
    seconds = seconds_per_image(probe, reader) * images
    ending = f", {time.strftime('%d %b %H:%M', time.localtime(time.time() + seconds))} at the latest"
    console.print(
        f"{len(shards)} of {spec.shards} files to make; about {_duration(seconds)}{ending if seconds > 60 else ''}",
        highlight=False,
    )


def _run(
    arguments: argparse.Namespace,
    spec: FeatureSpec,
    shards: Sequence[int],
    source: Source,
    reader: _Reader,
    console: Console,
) -> list[BadImage]:
    bad: list[BadImage] = []
    ranges = batches_of(spec, shards)
    if not ranges:
        return bad
    batches = image_batches(
        source,
        ranges,
        size=spec.image_size,
        fit=spec.fit,
        workers=arguments.workers,
        device=reader.device,
    )
    columns = (
        TextColumn("images"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[bad]} left out"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("images", total=sum(map(len, ranges)), bad=0)

        def done(images: int, found: Sequence[BadImage]) -> None:
            bad.extend(found)
            progress.update(task, advance=images, bad=len(bad))

        write_shards(
            arguments.out, spec, shards, batches, reader, lambda rows: shard_inputs(source, rows), done
        )
    return bad


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"

"""`codistill shrink E --images SOURCE --num-heads N --out DIR`: a narrower encoder from a trained one, in minutes."""

import argparse

import torch
from torch import Tensor, nn

from codistill.commands.parsers.shrink import parse
from codistill.data import Source, SourceConfig, open_source
from codistill.encoders.frozen import FrozenViTEncoder
from codistill.encoders.load import load_encoder
from codistill.encoders.vit import ViTEncoder
from codistill.engine.distributed import choose_device
from codistill.errors import ConfigError, DataError
from codistill.nn.host_memory import keep_freed_memory
from codistill.student.shrink import Shrunk, shrink
from codistill.tasks.extraction.images import image_batches
from codistill.weights.contents import EncoderWeights, StudentWeights
from codistill.weights.export import check_place, write_export


def main(argv: list[str]) -> int:
    """Shrink an encoder and write it as an export folder; returns 0.

    Raises:
        CodistillError: if encoder or images cannot be read or are unsuitable, or the folder cannot be written.
    """
    arguments = parse(argv)
    check_place(arguments.out, overwrite=arguments.overwrite)  # refused before minutes of work
    if arguments.count < 1 or arguments.batch_size < 1:
        raise ConfigError(
            f"--count and --batch-size must be positive; got {arguments.count} and {arguments.batch_size}"
        )
    if arguments.size is not None and arguments.size < 1:
        raise ConfigError(f"--size must be 1 or more; got {arguments.size}")
    device = choose_device(arguments.device)
    keep_freed_memory()
    encoder = load_encoder(arguments.encoder)
    if not isinstance(encoder, ViTEncoder) or isinstance(encoder, FrozenViTEncoder):
        raise ConfigError(
            f"{encoder.spec.name} is not one of codistill's own vision transformers; only these can be shrunk"
        )
    teacher = arguments.teacher or encoder.spec.name.replace(".", "_")
    if "." in teacher:  # refused before minutes of work
        raise ConfigError(f"--teacher {teacher!r}: a teacher's name must not hold a dot")
    source = open_source(SourceConfig(name="images", path=arguments.images))
    patch = encoder.spec.patch_size
    size = max(1, round((arguments.size or encoder.config.image_size) / patch)) * patch
    batches = _images(source, arguments, size, device)
    shrunk = shrink(encoder.eval().to(device), batches, num_heads=arguments.num_heads, teacher=teacher)
    _write(arguments, encoder, shrunk)
    config = shrunk.encoder.config
    blocks = " ".join(f"{share:.3f}" for share in shrunk.unexplained)
    print(
        f"{arguments.out}: {encoder.config.dim} to {config.dim} channels, {encoder.config.num_heads} to "
        f"{config.num_heads} heads, on {sum(map(len, batches))} images of {size} px"
    )
    print(
        f"in the channels kept: {shrunk.kept:.1%} of the normalized stream; missed after each block: {blocks}"
    )
    print(f"licence: {encoder.spec.licence}")
    flags = f"--image-size {size} --student.dim {config.dim} --student.depth {config.depth} "
    flags += f"--student.num-heads {config.num_heads} --student.patch-size {config.patch_size} "
    print(
        f"next: codistill distill RECIPE --student.init {arguments.out} {flags}--student.num-registers "
        f"{config.num_registers} --optim.lr 1e-4 --optim.lr-scales encoder. 0.3 --out RUN"
    )
    return 0


def _images(source: Source, arguments: argparse.Namespace, size: int, device: torch.device) -> list[Tensor]:
    """Evenly spaced images of a source, in batches; those that do not decode are left out."""
    count = min(arguments.count, len(source))
    numbers = [index * len(source) // count for index in range(count)]
    ranges = [
        numbers[start : start + arguments.batch_size] for start in range(0, count, arguments.batch_size)
    ]
    batches, bad = [], 0
    stream = image_batches(
        source,
        ranges,
        size=size,
        fit="crop",
        workers=arguments.workers,
        device=device,
    )
    for batch in stream:
        names = {image.name for image in batch.bad}
        good = [row for row, name in enumerate(batch.names) if name not in names]
        bad += len(names)
        if good:
            batches.append(batch.images[good])
    if bad:
        print(f"{bad} of {count} images do not decode and are left out")
    if not batches:
        raise DataError(f"{arguments.images}: none of {count} images decodes")
    return batches


def _write(arguments: argparse.Namespace, encoder: ViTEncoder, shrunk: Shrunk) -> None:
    spec, config = encoder.spec, shrunk.encoder.config
    (target,) = shrunk.student.targets
    narrow = EncoderWeights(
        config=config,
        tensors=_tensors(shrunk.encoder),
        layout="codistill",
        name=f"{spec.name}_{config.num_heads}_heads",
        mean=tuple(spec.mean),
        std=tuple(spec.std),
        licence=spec.licence,
    )
    statistics = {
        kind: (part.mean.cpu(), part.std.cpu())
        for kind, part in shrunk.student.target_statistics[target.name].by_kind()  # type: ignore[operator]
    }
    teacher = {"name": target.name, "encoder": spec.name, "dim": target.dim, "kinds": list(target.kinds)}
    weights = StudentWeights(
        encoder=narrow,
        projectors={target.name: _tensors(shrunk.student.projectors[target.name])},
        statistics={target.name: statistics},
        teachers=({**teacher, "licence": spec.licence},),
        proj_args={"num_heads": config.num_heads},
    )
    made = {"command": "shrink", "from": spec.name, "kept": shrunk.kept, "missed": shrunk.unexplained}
    write_export(arguments.out, weights, recipe=made, overwrite=arguments.overwrite)


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}

"""`codistill inspect WHAT`: the content of a checkpoint, run, export, head, manifest, shard, world or features folder.

A path or a known name in; a table (or JSON) out: layout, architecture, parameters, normalization, licence, teachers.
For a file of an unknown layout, entries and tensors are listed; it is not an error here.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from codistill.commands.inspect_data import describe_manifest, describe_shard
from codistill.commands.inspect_folders import describe_folder
from codistill.commands.inspect_head import describe_head, is_fit_folder
from codistill.commands.inspect_known import known_encoders, known_row, published_row
from codistill.commands.inspect_program import describe_program
from codistill.commands.inspect_tables import show
from codistill.commands.parsers.inspect import parse
from codistill.encoders.load import KINDS, load_encoder
from codistill.encoders.options import STATED, as_options, split_options, stated_of
from codistill.encoders.published import PUBLISHED
from codistill.encoders.registry import encoder_names
from codistill.errors import CheckpointError, ConfigError, unknown_name
from codistill.files.hashes import file_sha256
from codistill.files.places import cache_folder
from codistill.nn.network import NetworkConfig
from codistill.nn.vit import ViTConfig
from codistill.programs.opening import RECORDS
from codistill.tasks.shared.head_files import TENSORS
from codistill.weights.cache import find_local
from codistill.weights.contents import EncoderWeights, StudentWeights, count_parameters
from codistill.weights.export import as_json
from codistill.weights.known import KNOWN, find_known
from codistill.weights.layouts import read_weights
from codistill.weights.read import read_checkpoint, read_header
from codistill.weights.run import checkpoints
from codistill.weights.shipped import find_shipped, shipped_models
from codistill.weights.state import StateDict
from codistill.weights.stated import Stated

MAX_GROUPS = 12
DATA = {".parquet": describe_manifest, ".arrow": describe_manifest, ".tar": describe_shard}


def main(argv: list[str]) -> int:
    """Print the content of a path or known name; returns 0.

    Raises:
        CodistillError: if it is missing, damaged, or of no known kind, or lacks what an option asks for.
    """
    arguments = parse(argv)
    if arguments.what is None:
        _refuse_options("the list of known weights", [] if arguments.num_heads is None else ["num_heads"])
        description = known_encoders()
    else:
        description = describe(
            arguments.what, num_heads=arguments.num_heads, keys=arguments.keys, hashed=arguments.hash
        )
    what = arguments.what or "the list of known weights"
    if arguments.hash and "published file" not in description:
        raise ConfigError(
            f"--hash would have no effect on {what}: it is for a file of weights on this machine"
        )
    if arguments.keys and "tensors" not in description:
        raise ConfigError(f"--keys would have no effect on {what}: it is for weights on this machine")
    if arguments.json:
        print(json.dumps(as_json(description), indent=2, ensure_ascii=False))
    else:
        show(description, Console())
    return 0


def describe(
    what: str, *, num_heads: int | None = None, keys: bool = False, hashed: bool = False
) -> dict[str, Any]:
    """Content of a path, known name or other encoder, as plain data; lists of dictionaries become tables."""
    if what.startswith(tuple(KINDS)) or what in encoder_names():
        _refuse_options(what, [] if num_heads is None else ["num_heads"])
        encoder = load_encoder(what)
        return asdict(encoder.spec) | {"parameters": encoder.num_parameters}
    text, options = (what, {}) if Path(what).expanduser().exists() else split_options(what)
    options |= as_options(["num_heads"], num_heads=num_heads)
    path = _path_of(text)
    told = _known(text) if path is None else _not_weights(path, keys)
    _refuse_options(text, [name for name in options if told is not None or name not in STATED])
    if told is not None:
        return told
    assert path is not None
    description = {"path": str(path)} | _describe_weights(path, stated_of(options), keys)
    if hashed and path.is_file():
        description |= _hashes(path)
    return description


def _refuse_options(what: str, names: Sequence[str]) -> None:
    if names:
        raise ConfigError(
            f"{', '.join(names)} would have no effect on {what}: weights are shown as they are, and only facts that "
            f"their file does not state ({', '.join(STATED)}) can be given, for a file on this machine"
        )


def _path_of(text: str) -> Path | None:
    """The file or folder; for a name, that of a model that ships or of weights on this machine; None if there is none.

    Raises:
        CheckpointError: for an unknown name.
    """
    path = Path(text).expanduser()
    if path.exists():
        return path
    if (shipped := find_shipped(text)) is not None:
        return shipped
    known = find_known(text)
    if known is None and text not in PUBLISHED:
        near = unknown_name("weights", text, {*shipped_models(), *KNOWN, *PUBLISHED})
        raise CheckpointError(f"{text}: no such file or folder, and no known weights. {near}")
    return None if known is None else find_local(known)


def _known(text: str) -> dict[str, Any]:
    """Facts on a known name whose weights are not on this machine."""
    known = find_known(text)
    if known is None:
        return published_row(PUBLISHED[text])
    return known_row(known) | {"on this machine": f"no (it would go to {cache_folder() / known.filename})"}


def _not_weights(path: Path, keys: bool) -> dict[str, Any] | None:
    """Content of an exported program, data, or a head; None for weights."""
    if path.suffix.lower() in RECORDS and path.is_file():
        return {"path": str(path)} | describe_program(path)
    if (of_data := DATA.get(path.suffix.lower())) and path.is_file():
        return {"path": str(path)} | of_data(path)
    if path.is_dir() and (of_folder := describe_folder(path)) is not None:
        return {"path": str(path)} | of_folder
    if is_fit_folder(path):
        of_head = {"path": str(path)} | describe_head(path)
        return of_head | ({"tensors": _tensor_rows(read_checkpoint(path / TENSORS))} if keys else {})
    return None


def _describe_weights(path: Path, stated: Stated, keys: bool) -> dict[str, Any]:
    try:
        weights = read_weights(path, stated=stated)
    except CheckpointError as error:
        if path.is_dir():
            raise
        return _describe_contents(path, error, keys)
    student = weights if isinstance(weights, StudentWeights) else None
    encoder = weights.encoder if isinstance(weights, StudentWeights) else weights
    described = _describe_encoder(encoder)
    if student:
        described |= {
            "teachers": [_teacher_row(student, teacher) for teacher in student.teachers],
            "projector parameters": student.num_projector_parameters,
            "projector arguments": student.proj_args,
            "iteration": student.iteration,
            "recipe": student.recipe,
        }
    elif encoder.extra.get("teachers"):
        described |= {"teachers": encoder.extra["teachers"], "recipe": encoder.extra.get("recipe")}
    if found := checkpoints(path):
        described["checkpoints"] = [folder.name for folder in found]
    if keys:
        described["tensors"] = _tensor_rows(encoder.tensors)
    return described


def _describe_encoder(encoder: EncoderWeights) -> dict[str, Any]:
    config = encoder.config
    said = {key: value for key, value in encoder.extra.items() if key not in ("teachers", "recipe", "source")}
    return {
        "name": encoder.name,
        "layout": encoder.layout,
        "licence": encoder.licence,
        "architecture": _architecture(config),
        "native image size": config.image_size,
        "parameters": encoder.num_parameters,
        "stored as": ", ".join(
            sorted({str(t.dtype).removeprefix("torch.") for t in encoder.tensors.values()})
        ),
        "normalization": {"mean": encoder.mean, "std": encoder.std},
        "config": asdict(config),
        "file says": said,
    }


def _architecture(config: ViTConfig | NetworkConfig) -> str:
    if isinstance(config, NetworkConfig):
        return f"{config.model} of timm, {config.dim} wide, {config.patch_size} pixels per token, class token: mean"
    return (
        f"ViT, {config.dim} wide, {config.depth} blocks, {config.num_heads} heads, patch {config.patch_size}, "
        f"{'class token' if config.has_cls else 'no class token'}, {config.num_registers} registers, "
        f"{config.feed_forward} feed-forward of {config.hidden_size}, {config.position} positions"
    )


def _teacher_row(student: StudentWeights, teacher: dict[str, Any]) -> dict[str, Any]:
    projector = student.projectors.get(teacher["name"], {})
    seen = "transformer" if "linear.weight" in projector else "ladder" if projector else "none"
    kind = student.proj_args.get("kind", seen) if projector else seen  # released files do not state it
    count = count_parameters(projector)
    return {**teacher, "kinds": "+".join(teacher.get("kinds", ())), "projector": f"{kind}, {count:,}"}


def _describe_contents(path: Path, error: CheckpointError, keys: bool) -> dict[str, Any]:
    """Entries and tensors of a readable file in which no encoder was recognized, and the reason."""
    checkpoint = read_checkpoint(path)
    described: dict[str, Any] = {"encoder": f"none: {str(error).removeprefix(f'{path}: ')}"}
    if header := read_header(path):
        described["header"] = header
    others = {key: value for key, value in checkpoint.items() if isinstance(value, (str, int, float))}
    if others:
        described["entries"] = others
    try:
        state = StateDict.of_checkpoint(path, checkpoint)
    except CheckpointError:
        return described | {"holds": ", ".join(map(str, checkpoint))}
    described["parameters"] = sum(tensor.numel() for tensor in state.tensors.values())
    described["tensors"] = _tensor_rows(state.tensors) if keys else _group_rows(state)
    return described


def _tensor_rows(tensors: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"tensor": name, "shape": "x".join(map(str, t.shape)), "dtype": str(t.dtype).removeprefix("torch.")}
        for name, t in tensors.items()
    ]


def _group_rows(state: StateDict) -> list[dict[str, Any]]:
    """Table of the tensors, grouped by the first part of their name."""
    groups: dict[str, list[int]] = {}
    rows: list[dict[str, Any]]
    for name, tensor in state.tensors.items():
        groups.setdefault(name.partition(".")[0], []).append(tensor.numel())
    rows = [
        {"group": name, "tensors": len(sizes), "parameters": sum(sizes)} for name, sizes in groups.items()
    ]
    if len(rows) <= MAX_GROUPS:
        return rows
    rest = {key: sum(row[key] for row in rows[MAX_GROUPS:]) for key in ("tensors", "parameters")}
    return [*rows[:MAX_GROUPS], {"group": f"{len(rows) - MAX_GROUPS} more (--keys lists all)", **rest}]


def _hashes(path: Path) -> dict[str, Any]:
    found = file_sha256(path)
    same = [known.name for known in KNOWN.values() if known.sha256 == found]
    return {"sha256": found, "published file": same[0] if same else "none with this SHA-256"}

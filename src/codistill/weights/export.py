"""Write and read the export folder, which a run ends with, and to which `codistill convert` converts any layout.

    encoder.safetensors       the encoder's tensors; its header repeats config.json, so that the file loads alone too
    config.json               architecture, normalization, licence, recipe, teachers and their licences
    projectors.safetensors    (students) projectors and target statistics

Reading returns bit for bit what was written. The folder is written under another name and then renamed, so that it is
never incomplete.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from codistill.errors import CheckpointError
from codistill.files.json_files import is_json_object, read_json, write_json
from codistill.files.tensors import write_tensors
from codistill.files.writing import check_writable, folder_atomically
from codistill.types import IMAGENET_MEAN, IMAGENET_STD
from codistill.version import __version__
from codistill.weights.architecture import architecture_fields, check_encoder, config_from_fields
from codistill.weights.contents import EncoderWeights, StudentWeights
from codistill.weights.layout_student import (
    projector_tensors,
    read_std_floor,
    read_student,
    with_teachers,
)
from codistill.weights.read import read_checkpoint
from codistill.weights.state import StateDict
from codistill.weights.stated import Stated

FORMAT = "codistill-export"
FORMAT_VERSION = 1
CONFIG, ENCODER, PROJECTORS = "config.json", "encoder.safetensors", "projectors.safetensors"
HUB_ENCODER, HUB_CARD = "model.safetensors", "README.md"
"""File names that the Hugging Face hub expects: the encoder's tensors, and the model card."""


def write_export(
    folder: str | Path,
    weights: EncoderWeights | StudentWeights,
    *,
    recipe: Any = None,
    teachers: Sequence[Mapping[str, Any]] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write weights as an export folder.

    Args:
        folder: the folder to create, with its parents.
        weights: an encoder, or a student with its projectors.
        recipe: recipe of the weights: a name or plain data; None keeps that of `weights`.
        teachers: descriptions of the teachers (name, dim, kinds, licence, domain …); None keeps those of `weights`.
        overwrite: replace an existing export. Anything else is never replaced.

    Returns:
        The folder.

    Raises:
        CheckpointError: if the folder exists and may not be replaced, or cannot be written.
    """
    folder = Path(folder).expanduser()
    check_place(folder, overwrite=overwrite)
    config = describe_export(weights, recipe=recipe, teachers=teachers)
    encoder = weights.encoder if isinstance(weights, StudentWeights) else weights
    with folder_atomically(folder) as building:
        header = {"format": FORMAT, "config": json.dumps(config)}
        write_tensors(building / ENCODER, encoder.tensors, header)
        if isinstance(weights, StudentWeights) and weights.projectors:
            write_tensors(building / PROJECTORS, projector_tensors(weights), {"format": FORMAT})
        write_json(building / CONFIG, config)
    return folder


def describe_export(
    weights: EncoderWeights | StudentWeights,
    *,
    recipe: Any = None,
    teachers: Sequence[Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """The content of `config.json` for weights."""
    student = weights if isinstance(weights, StudentWeights) else None
    encoder = student.encoder if student else weights
    assert isinstance(encoder, EncoderWeights)
    if recipe is None:
        recipe = student.recipe if student else encoder.extra.get("recipe")
    if teachers is None:
        teachers = student.teachers if student else encoder.extra.get("teachers", ())
    described = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "codistill_version": __version__,
        "name": encoder.name,
        "licence": encoder.licence,
        "architecture": architecture_fields(encoder.config),
        "normalization": {"mean": list(encoder.mean), "std": list(encoder.std)},
        "num_parameters": encoder.num_parameters,
        "recipe": recipe,
        "teachers": list(teachers or ()),
        "projector": student.proj_args if student else {},
        "iteration": student.iteration if student else None,
        "std_floor": student.std_floor if student else None,
        "source": encoder.extra.get("source")
        or {"layout": encoder.layout, "args": encoder.extra.get("args")},
    }
    return as_json(described)


def is_export(folder: str | Path) -> bool:
    """Whether a folder is an export of codistill."""
    folder = Path(folder)
    return (folder / ENCODER).is_file() or is_json_object(folder / CONFIG, format=FORMAT)


def read_export(folder: str | Path) -> EncoderWeights | StudentWeights:
    """Read what `write_export` wrote, bit for bit: a student if there are projectors, else an encoder.

    Raises:
        CheckpointError: for a damaged export; the text says the file, the key, what was expected, what was found.
    """
    folder = Path(folder).expanduser()
    config = read_json(folder / CONFIG)
    path, of_hub = folder / ENCODER, folder / HUB_ENCODER
    path = of_hub if of_hub.exists() and not path.exists() else path
    encoder = _encoder(StateDict.of_checkpoint(path, read_checkpoint(path)), config, str(folder / CONFIG))
    path = folder / PROJECTORS
    if not path.exists():
        return encoder
    tensors = read_checkpoint(path)
    tensors.update({f"encoder.{name}": tensor for name, tensor in encoder.tensors.items()})
    student = read_student(StateDict.of_checkpoint(path, tensors), Stated(), encoder.config, encoder.layout)
    projector, iteration = config.get("projector"), config.get("iteration")
    student = replace(
        student,
        encoder=encoder,
        proj_args=dict(projector) if isinstance(projector, Mapping) else {},
        iteration=iteration if isinstance(iteration, int) else None,
        recipe=config.get("recipe"),
        std_floor=read_std_floor(config, config.get("recipe"), str(folder / CONFIG)),
    )
    return with_teachers(student, config.get("teachers"))


def read_export_file(state: StateDict, header: Mapping[str, str]) -> EncoderWeights | None:
    """The encoder in a single `encoder.safetensors`, without its folder; None for other files."""
    if header.get("format") != FORMAT or "config" not in header:
        return None
    where = f"{state.path}: header"
    try:
        config = json.loads(header["config"])
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{where}: damaged JSON ({error}). Copy the file again.") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{where}: expected a JSON object, found {type(config).__name__}")
    return _encoder(state, config, where)


def _encoder(state: StateDict, config: Mapping[str, Any], where: str) -> EncoderWeights:
    if config.get("format") != FORMAT or config.get("format_version") != FORMAT_VERSION:
        raise CheckpointError(
            f"{where}: has format {config.get('format')!r} version {config.get('format_version')!r}; this version of "
            f"codistill reads {FORMAT!r} version {FORMAT_VERSION}. A newer version may have written it: upgrade."
        )
    architecture, normalization = config.get("architecture"), config.get("normalization")
    if not isinstance(architecture, Mapping):
        raise CheckpointError(
            f"{where}: misses 'architecture'. The file is damaged: convert or copy it again."
        )
    encoder = config_from_fields(architecture, where)
    check_encoder(state, encoder)
    extra = {
        key: config[key] for key in ("recipe", "teachers", "source", "codistill_version") if config.get(key)
    }
    return EncoderWeights(
        config=encoder,
        tensors=state.tensors,
        layout="codistill export",
        name=str(config.get("name", state.path.parent.name)),
        licence=str(config.get("licence", "unknown")),
        extra=extra,
        **read_normalization(normalization, where),
    )


def read_normalization(value: Any, where: str) -> dict[str, Any]:
    """Read `mean` and `std` from JSON; ImageNet's if missing.

    Raises:
        CheckpointError: if they are not three numbers each.
    """
    value = value if isinstance(value, Mapping) else {}
    found = {"mean": value.get("mean", IMAGENET_MEAN), "std": value.get("std", IMAGENET_STD)}
    for name, numbers in found.items():
        good = isinstance(numbers, Sequence) and len(numbers) == 3
        if not good or not all(isinstance(x, (int, float)) and math.isfinite(x) for x in numbers):
            raise CheckpointError(f"{where}: normalization.{name} must be three numbers; got {numbers!r}")
    return {name: tuple(float(x) for x in numbers) for name, numbers in found.items()}


def as_json(value: Any) -> Any:
    """Convert plain data to JSON values; anything else becomes its text."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [as_json(item) for item in value]
    return str(value)


def check_place(folder: Path, *, overwrite: bool) -> None:
    """Check that an export can be written: the folder is new, or holds only an export and `overwrite` is set.

    Raises:
        CheckpointError: if it may not be replaced.
        ConfigError: if a file is in the place of a folder.
        WriteError: if the disk or the permissions forbid it.
    """
    if folder.exists():
        _refuse_unless_export(folder, overwrite)
    check_writable(folder.parent)


def _refuse_unless_export(folder: Path, overwrite: bool) -> None:
    """Raise unless `folder` holds only an export and `overwrite` is set."""
    other = (
        []
        if not folder.is_dir()
        else sorted({p.name for p in folder.iterdir()} - {CONFIG, ENCODER, PROJECTORS})
    )
    if not is_export(folder) or other:
        holds = f" (it holds {', '.join(other[:3])})" if other else ""
        raise CheckpointError(f"{folder}: exists already and is no export{holds}. Name another folder.")
    if not overwrite:
        raise CheckpointError(
            f"{folder}: exists already. Name another folder, or replace it: overwrite=True (--overwrite)."
        )

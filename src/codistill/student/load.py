"""Load a `Student` from weights: released DUNE and UNIC files, runs, and exports with projectors.

The projector's kind and sizes are read from the tensors' names and shapes.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from codistill.encoders.changed import changed
from codistill.encoders.load import encoder_from_weights
from codistill.encoders.options import FILE_OPTIONS, as_options, split_options, split_precision, stated_of
from codistill.encoders.precision import check_precision, in_precision
from codistill.errors import CheckpointError, ConfigError
from codistill.files.own_code import is_own
from codistill.files.plain import from_plain
from codistill.student.projectors import ProjectorConfig
from codistill.student.student import Student
from codistill.types import TargetSpec
from codistill.weights.cache import named_weights
from codistill.weights.contents import EncoderWeights, StudentWeights
from codistill.weights.layout_student import STATISTICS
from codistill.weights.layouts import read_student_weights, read_weights

_OPTIONS = (*FILE_OPTIONS, "projector")
ADAPTORS = ("ln_mlp", "siglino", "radio_mlp", "radio_attention")
"""Kinds that no released file contains: codistill's own files state them."""
_RUNG = re.compile(r"(cls|patch)\.(\d+)\.layers\.0\.weight")


def projector_config(tensors: Mapping[str, Tensor], proj_args: Mapping[str, Any]) -> ProjectorConfig:
    """Find the `ProjectorConfig` of one teacher's projector (one of codistill's own), from its tensors.

    Args:
        tensors: by name within the projector.
        proj_args: from the file. For `ADAPTORS` all of it is used; for others only `num_heads`, which the tensors do
            not tell.
    """
    if proj_args.get("kind") in ADAPTORS:
        return _stated_config(proj_args)
    if "linear.weight" in tensors:
        blocks = {int(name.split(".")[1]) for name in tensors if name.startswith("blocks.")}
        heads = proj_args.get("num_heads")
        scaled = "blocks.0.ls1.gamma" in tensors
        return ProjectorConfig(
            num_blocks=len(blocks),
            num_heads=heads,
            layer_scale=ProjectorConfig.layer_scale if scaled else None,
        )
    widths: dict[int, int] = {}
    for name, tensor in tensors.items():
        if match := _RUNG.fullmatch(name):
            widths[int(match[2])] = tensor.shape[0]
    if not widths:
        raise CheckpointError(
            f"no known projector: its tensors are called {', '.join(sorted(tensors)[:4])} …"
        )
    chosen = tuple(sorted(widths))
    return ProjectorConfig(
        kind="ladder", blocks=chosen, hidden=widths[chosen[0]], last_hidden=widths[chosen[-1]]
    )


def _stated_config(proj_args: Mapping[str, Any]) -> ProjectorConfig:
    try:
        return from_plain(ProjectorConfig, dict(proj_args))
    except ConfigError as error:
        raise CheckpointError(f"the description of its projectors: {error}") from error


def _own_config(weights: StudentWeights, own: str | None) -> ProjectorConfig:
    """The config of the user's own projectors: tensors do not identify them, and no file is imported unasked."""
    kind = str(weights.proj_args["kind"])
    if own is None:
        raise CheckpointError(
            f"{weights.encoder.name}: its projectors are of {kind}, and reading weights imports no code by itself. "
            f"Allow the import: add ,projector={kind} (or the file's present path), or use the encoder alone."
        )
    try:
        return replace(from_plain(ProjectorConfig, dict(weights.proj_args)), kind=own)
    except ConfigError as error:
        raise CheckpointError(f"{weights.encoder.name}: projector: {error}") from error


def student_of_weights(weights: StudentWeights, own: str | None = None) -> Student:
    """Create a `Student`, in evaluation mode, with these weights in fp32.

    Args:
        weights: as read from a file.
        own: `file.py:NAME` of its projectors, if they are the user's own.

    Raises:
        CheckpointError: if projectors differ between teachers, or a tensor is missing, surplus or of another shape.
    """
    targets = tuple(
        TargetSpec(
            name=teacher["name"],
            dim=teacher["dim"],
            kinds=tuple(teacher["kinds"]),
            cls_dim=teacher.get("cls_dim"),
            pooled=bool(teacher.get("pooled", False)),
            token=int(teacher.get("token", 0)),
        )
        for teacher in weights.teachers
    )
    if is_own(str(weights.proj_args.get("kind", ""))):
        config = _own_config(weights, own)
        configs = dict.fromkeys(weights.projectors, config)
    elif own is not None:
        raise ConfigError(
            f"{weights.encoder.name}: projector={own} would have no effect: its projectors are codistill's own"
        )
    else:
        configs = {
            name: projector_config(tensors, weights.proj_args) for name, tensors in weights.projectors.items()
        }
    config = next(iter(configs.values()), ProjectorConfig())
    if any(other != config for other in configs.values()):
        raise CheckpointError(f"{weights.encoder.name}: projectors differ between teachers: {configs}")
    rotated = any(len(parts) == 3 for kinds in weights.statistics.values() for parts in kinds.values())
    student = Student(
        encoder_from_weights(weights.encoder),
        targets,
        config,
        rotated_targets=rotated,
        std_floor=weights.std_floor,
    )
    tensors = {
        f"projectors.{teacher}.{name}": tensor
        for teacher, projector in weights.projectors.items()
        for name, tensor in projector.items()
    }
    for teacher, kinds in weights.statistics.items():
        for kind, parts in kinds.items():
            for name, tensor in zip(STATISTICS, parts, strict=False):
                tensors[f"target_statistics.{teacher}.{kind}.{name}"] = tensor
    missing, surplus = student.load_state_dict(tensors, strict=False)
    missing = [k for k in missing if not k.startswith("encoder.")]
    if not weights.statistics:
        missing = [k for k in missing if not k.startswith("target_statistics.")]
    if missing or surplus:
        raise CheckpointError(
            f"{weights.encoder.name}: projectors do not fit their student. Missing: {missing[:5]}; "
            f"surplus: {list(surplus)[:5]}"
        )
    return student.eval()


def load_student(
    what: str,
    *,
    num_heads: int | None = None,
    image_size: int | None = None,
    projector: str | None = None,
    precision: str | None = None,
    train: bool = False,
) -> Student:
    """Load a student with its projectors, in evaluation mode and frozen.

    Args:
        what: a released DUNE or UNIC file, a run, an export with projectors, or a known name; options as for
            `load_encoder`.
        num_heads: heads of the encoder, if neither the file nor its width tells.
        image_size: another native size in pixels, to which the positional embedding is resized.
        projector: `file.py:NAME` of its projectors, if they are your own. The file is imported.
        precision: of the encoder, as for `load_encoder`, for a CPU; projectors stay in fp32.
        train: let parameters require gradients.

    Raises:
        CheckpointError: if it does not exist, or has no projectors.
        ConfigError: for train=True with another precision than exact.
    """
    what, said = split_precision(what)
    wanted = check_precision(precision or said or "exact")
    if train and wanted != "exact":
        raise ConfigError(f"train=True needs precision=exact: an encoder in {wanted} has no gradients")
    path, options = _locate(what, num_heads=num_heads, image_size=image_size, projector=projector)
    weights = read_student_weights(path, stated=stated_of(options))
    weights = replace(weights, encoder=changed(weights.encoder, options))
    student = student_of_weights(weights, options.get("projector"))
    if train:
        return student
    student.encoder = in_precision(student.encoder, wanted)  # type: ignore[assignment]
    return student.requires_grad_(False)


def described_teachers(what: str) -> dict[str, dict[str, Any]]:
    """Return what a student's weights say of each teacher, by its name (`dim`, `kinds`; `encoder`, `cls_dim` …).

    Raises:
        CheckpointError: if the weights do not exist, or have no projectors.
    """
    path, options = _locate(what)
    teachers = read_student_weights(path, stated=stated_of(options)).teachers
    return {str(teacher["name"]): dict(teacher) for teacher in teachers}


def load_any_student(what: str, *, image_size: int | None = None) -> Student:
    """Load a student like `load_student`, for further training; an encoder becomes a student without teachers."""
    path, options = _locate(what, image_size=image_size)
    weights = read_weights(path, stated=stated_of(options))
    if isinstance(weights, EncoderWeights):
        weights = StudentWeights(encoder=weights, projectors={}, statistics={}, teachers=())
    weights = replace(weights, encoder=changed(weights.encoder, options))
    return student_of_weights(weights, options.get("projector"))


def _locate(what: str, **given: int | str | None) -> tuple[Path, dict[str, Any]]:
    """Find the file or folder of a path or a known name, and the options that follow it or were given beside it."""
    exists = Path(what).expanduser().exists()
    text, options = (what, {}) if exists else split_options(what, _OPTIONS)
    return named_weights(text), options | as_options(given, **given)

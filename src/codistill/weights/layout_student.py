"""Layout of distilled students: released DUNE and UNIC files, and the checkpoints of codistill's runs.

Names of tensors: `encoder.*`; `projectors.{teacher}.*` or, for ladders,
`heads.{teacher}.{kind}.{block}.layers.{0,2}.*`; `teacher_norms.{teacher}.normalizers.{kind}.{mean,std}` (released) or
`target_statistics.{teacher}.{kind}.{mean,std}` (codistill's). Widths come from the tensors. Teachers have the order of
the file's `teachers` entry.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from codistill.errors import CheckpointError
from codistill.nn.network import NetworkConfig
from codistill.nn.vit import VIT_SIZES, ViTConfig
from codistill.weights.architecture import check_encoder
from codistill.weights.contents import STD_FLOOR, EncoderWeights, StudentWeights, TargetMoments
from codistill.weights.known import DUNE_LICENCE, find_known, known_stem
from codistill.weights.layout_vit import OFFSET_RULE, name_and_licence, plain_extra
from codistill.weights.metadata import facts_in_metadata
from codistill.weights.state import StateDict
from codistill.weights.stated import Stated, family_of_known, require_facts
from codistill.weights.vit import encoder_width, infer_config, unchunked

PREFIX = "encoder."
AVERAGE = "average."
"""Prefix of the names of the moving average of encoder and projectors, which a run may keep."""
STATISTICS = ("mean", "std", "rotation")

_PROJECTOR = re.compile(r"projectors\.([^.]+)\.(.+)")
_LADDER = re.compile(r"(?:[^.]+\.)*?heads\.([^.]+)\.((?:cls|patch)\.\d{1,4}\.layers\.[02]\.(?:weight|bias))")
_STATISTICS = re.compile(
    r"(?:teacher_norms\.([^.]+)\.normalizers|target_statistics\.([^.]+))\.(cls|patch)\.(mean|std|rotation)"
)


@dataclass
class _Parts:
    """Projectors and statistics while they are collected."""

    projectors: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    moments: dict[str, dict[str, dict[str, Tensor]]] = field(default_factory=dict)


def is_student(state: StateDict) -> bool:
    """Whether a file holds a student: an encoder under `encoder.`, with or without projectors."""
    return state.has(f"{PREFIX}patch_embed.proj.weight")


def read_student(
    state: StateDict,
    stated: Stated,
    config: ViTConfig | NetworkConfig | None = None,
    layout: str = "DUNE / UNIC student",
) -> StudentWeights:
    """Read a student's encoder, projectors and target statistics.

    Args:
        state: all tensors of the file.
        stated: the caller's facts about the encoder.
        config: the encoder's architecture, if known from the run or export.
        layout: name of the layout.

    Raises:
        CheckpointError: for missing or surplus keys, wrong shapes, teachers without a projector.
    """
    state = averaged(state)
    encoder, chunked = _encoder_tensors(state, config)
    extra = plain_extra(state)
    args = extra.get("args", {})
    parts = _collect(state)
    if config is None:
        stated = stated.over(heads_in_arguments(encoder, args))
        if not _is_released(state, args, chunked, parts):
            known = known_stem(state.path.stem)
            stated = stated.over(facts_in_metadata(state)).over(Stated(like=known and family_of_known(known)))
            require_facts(encoder, stated.resolved(encoder_width(encoder)))
        config = infer_config(encoder, stated.resolved(encoder_width(encoder)), OFFSET_RULE)
    check_encoder(encoder, config, chunked)
    if isinstance(config, ViTConfig) and (note := _disagreement(args, config)):
        extra["note"] = note
    moments = {name: _moments(state, name, kinds) for name, kinds in parts.moments.items()}
    iteration = state.rest.get("iter")
    proj_args = args.get("proj_args")
    return StudentWeights(
        encoder=EncoderWeights(
            config=config,
            tensors=encoder.tensors,
            layout=layout,
            extra=extra,
            **stated.normalization(),
            **name_and_licence(state, DUNE_LICENCE),
        ),
        projectors=parts.projectors,
        statistics=moments,
        teachers=_teachers(state, args.get("teachers"), parts.projectors, moments),
        proj_args=dict(proj_args) if isinstance(proj_args, Mapping) else {},
        iteration=iteration if isinstance(iteration, int) else None,
    )


def _encoder_tensors(state: StateDict, config: ViTConfig | NetworkConfig | None) -> tuple[StateDict, bool]:
    """The encoder's tensors, and whether its blocks were in chunks; names in a network of timm are not changed."""
    encoder = state.under(PREFIX)
    return (encoder, False) if isinstance(config, NetworkConfig) else unchunked(encoder)


def _is_released(state: StateDict, args: Mapping[str, Any], chunked: bool, parts: _Parts) -> bool:
    """Whether a file is a released student, so that what its tensors do not say is known.

    Other encoders may be called `encoder.` too, and one of codistill's runs is described beside its file.
    """
    own = any(name.startswith("target_statistics.") for name in state.tensors)
    return chunked or "teachers" in args or (bool(parts.projectors) and not own)


def averaged(state: StateDict) -> StateDict:
    """Replace weights by their moving average, where the file has one."""
    followed = {name.removeprefix(AVERAGE) for name in state.tensors if name.startswith(AVERAGE)}
    return state.renamed(
        lambda name: (
            name.removeprefix(AVERAGE) if name.startswith(AVERAGE) else None if name in followed else name
        )
    )


def _collect(state: StateDict) -> _Parts:
    """Sort all tensors except the encoder's into projectors and statistics; any other tensor is an error."""
    parts = _Parts()
    surplus = []
    for name, tensor in state.tensors.items():
        if name.startswith(PREFIX):
            continue
        if match := _STATISTICS.fullmatch(name):  # teacher, kind, mean/std/rotation
            kinds = parts.moments.setdefault(match[1] or match[2], {})  # released name, or codistill's
            kinds.setdefault(match[3], {})[match[4]] = tensor
        elif match := _LADDER.fullmatch(name) or _PROJECTOR.fullmatch(name):
            parts.projectors.setdefault(match[1], {})[match[2]] = tensor
        else:
            surplus.append(state.names[name])
    if surplus:
        raise CheckpointError(
            f"{state.path}: surplus keys: {', '.join(surplus[:5])}{' …' if len(surplus) > 5 else ''}. A student holds "
            "encoder.*, projectors.TEACHER.* (or heads.TEACHER.*) and teacher_norms.TEACHER.* only: "
            "the file has another layout."
        )
    state.renamed(lambda name: None if name.startswith(PREFIX) else name).check_values()
    return parts


def _moments(
    state: StateDict, teacher: str, kinds: Mapping[str, Mapping[str, Tensor]]
) -> dict[Any, tuple[Tensor, ...]]:
    """(mean, std) or (mean, std, rotation) per token kind, checked to have the same number of channels."""
    found = {}
    for kind, parts in kinds.items():
        shapes = {name: tuple(tensor.shape) for name, tensor in parts.items()}
        mean = shapes.get("mean", ())  # (channel,); doubled below, (channel, channel)
        wanted = {"mean": mean, "std": mean, **({"rotation": mean * 2} if "rotation" in shapes else {})}
        if len(mean) != 1 or shapes != wanted:
            raise CheckpointError(
                f"{state.path}: target statistics of {teacher!r}, {kind}: expected mean and std, each (channel,), "
                f"and no more than a rotation (channel, channel) beside them; found {shapes}"
            )
        found[kind] = tuple(parts[name] for name in STATISTICS if name in parts)
    return found


def _teachers(
    state: StateDict, order: Any, projectors: Mapping[str, Mapping[str, Tensor]], moments: TargetMoments
) -> tuple[dict[str, Any], ...]:
    """Descriptions of the teachers in order, with width, token kinds and, for known weights, the licence."""
    names = list(projectors)
    if isinstance(order, (list, tuple)) and sorted(map(str, order)) == sorted(names):
        names = [str(name) for name in order]
    without = sorted(set(moments) ^ set(projectors)) if moments else []
    if without:
        raise CheckpointError(
            f"{state.path}: teachers {', '.join(without)} have either a projector or target statistics, not both. "
            "The file is incomplete."
        )
    return tuple(_teacher(state, name, projectors[name], moments.get(name, {})) for name in names)


def _teacher(
    state: StateDict, name: str, projector: Mapping[str, Tensor], moments: Mapping[Any, tuple[Tensor, ...]]
) -> dict[str, Any]:
    kinds = [kind for kind in ("cls", "patch") if kind in moments] or ["cls", "patch"]  # default: both
    widths = {kind: _width(state, name, kind, projector, moments) for kind in kinds}
    dim, wide = widths.get("patch", widths[kinds[0]]), widths.get("cls")
    known = find_known(name)
    return {
        "name": name,
        "dim": dim,
        "kinds": kinds,
        "licence": known.licence if known else "unknown",
        **({} if wide in (None, dim) else {"cls_dim": wide}),
    }


def _width(
    state: StateDict,
    name: str,
    kind: str,
    projector: Mapping[str, Tensor],
    moments: Mapping[Any, tuple[Tensor, ...]],
) -> int:
    """A teacher's width for a token kind, on which its statistics and its projector's last layers must agree.

    Class tokens may have their own last layer, share one with the patches, or have none (if the teacher pools the
    predicted patches). A shared layer therefore determines only the width of the patches.
    """
    apart = r"|linear_cls\.weight" if kind == "cls" else ""
    own = re.compile(rf"{kind}\.(\d+\.layers\.2|(mlp\.)?last)\.weight{apart}")
    widths = {tensor.shape[0] for key, tensor in projector.items() if own.fullmatch(key)}
    widths |= {moments[kind][0].shape[0]} if kind in moments else set()
    if kind == "patch" or not widths:
        widths |= {
            t.shape[0] for key, t in projector.items() if re.fullmatch(r"(linear|both\.last)\.weight", key)
        }
    if len(widths) != 1:
        raise CheckpointError(
            f"{state.path}: the width of teacher {name!r} is unclear: its projector and target statistics say "
            f"{sorted(widths) or 'nothing'} for {kind} tokens; expected one `linear.weight` or `layers.2.weight` of "
            "the same width"
        )
    return int(widths.pop())


def heads_in_arguments(state: StateDict, args: Mapping[str, Any]) -> Stated:
    """Number of attention heads of the size named in the file's training arguments, if its width is the tensors'."""
    arch = args.get("enc_args")
    arch = arch.get("arch") if isinstance(arch, Mapping) else None
    named = VIT_SIZES.get(arch) if isinstance(arch, str) else None
    return (
        Stated(num_heads=int(named["num_heads"]))
        if named and named["dim"] == encoder_width(state)
        else Stated()
    )


def _disagreement(args: Mapping[str, Any], config: ViTConfig) -> str:
    """A note on training arguments that contradict the tensors; the tensors are used."""
    arch = args.get("enc_args")
    arch = arch.get("arch") if isinstance(arch, Mapping) else None
    named = VIT_SIZES.get(arch) if isinstance(arch, str) else None
    if named and (named["dim"], named["depth"]) != (config.dim, config.depth):
        return (
            f"the file's args say {arch} ({named['dim']} wide, {named['depth']} blocks); its tensors are "
            f"{config.dim} wide with {config.depth} blocks, and these are used"
        )
    size = args.get("image_size")
    if isinstance(size, int) and size != config.image_size:
        return f"the file's args say image_size {size}; its positional embedding, for {config.image_size}, is used"
    return ""


def with_teachers(weights: StudentWeights, described: Any) -> StudentWeights:
    """The same student with its teachers' descriptions (licence, domain, encoder) from a run's or export's JSON."""
    said = {str(teacher.get("name")): teacher for teacher in described or () if isinstance(teacher, Mapping)}
    merged = tuple({**teacher, **said.get(teacher["name"], {})} for teacher in weights.teachers)
    names = [name for name in said if any(teacher["name"] == name for teacher in merged)]
    order = {name: place for place, name in enumerate(names)}  # the description's order
    merged = tuple(sorted(merged, key=lambda teacher: order.get(teacher["name"], len(order))))
    return replace(weights, teachers=merged)


def read_std_floor(said: Mapping[str, Any], recipe: Any, where: str) -> float:
    """Read the lower bound of target deviations from a run's or export's JSON; older ones have it in the recipe.

    Raises:
        CheckpointError: if it is not a positive number.
    """
    floor = said.get("std_floor")
    if floor is None:
        for key in ("distill", "targets", "std_floor"):
            recipe = recipe.get(key) if isinstance(recipe, Mapping) else None
        floor = STD_FLOOR if recipe is None else recipe
    if not isinstance(floor, int | float) or not 0 < floor < math.inf:
        raise CheckpointError(f"{where}: std_floor must be a positive number; found {floor!r}")
    return float(floor)


def projector_tensors(weights: StudentWeights) -> dict[str, torch.Tensor]:
    """The projectors and target statistics of a student, under the names of codistill's checkpoints."""
    tensors = {}
    for teacher, projector in weights.projectors.items():
        tensors.update({f"projectors.{teacher}.{name}": tensor for name, tensor in projector.items()})
    for teacher, kinds in weights.statistics.items():
        for kind, parts in kinds.items():
            for name, tensor in zip(STATISTICS, parts, strict=False):
                tensors[f"target_statistics.{teacher}.{kind}.{name}"] = tensor
    return tensors

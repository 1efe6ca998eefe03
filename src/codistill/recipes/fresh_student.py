"""Build a recipe's student, from random or from earlier weights."""

import os
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from codistill.encoders.network import NetworkEncoder, fresh_network
from codistill.encoders.vit import ViTEncoder
from codistill.errors import ConfigError
from codistill.nn.network import NetworkConfig
from codistill.nn.seeded import seeded
from codistill.nn.vit import VIT_SIZES, ViTConfig, vit_config
from codistill.recipes.recipe import Recipe, StudentConfig
from codistill.student.load import load_any_student
from codistill.student.student import Student
from codistill.types import TargetSpec


def with_class_tokens(
    config: StudentConfig, targets: Sequence[TargetSpec], before: Sequence[TargetSpec] = ()
) -> tuple[TargetSpec, ...]:
    """Return the targets, each with the index of the student's class token that predicts it.

    With `class_tokens = per_teacher`, the largest index is the number of registers that serve as class tokens.

    Args:
        config: the recipe's student.
        targets: the teachers.
        before: teachers of the weights to start from. Those that had a token of their own keep it, in any order of
            `targets`; the others get the first free ones.
    """
    if config.class_tokens == "shared":
        return tuple(targets)
    wanting = [target.name for target in targets if "cls" in target.projected]
    had = {target.name: target.token for target in before if "cls" in target.projected}
    own = len(set(had.values())) == len(had)  # they did not share one
    tokens = {name: had[name] for name in wanting if own and name in had}
    free = iter(sorted(set(range(len(wanting))) - set(tokens.values())))
    tokens |= {name: next(free) for name in wanting if name not in tokens}
    return tuple(
        replace(target, token=tokens[target.name]) if target.name in tokens else target for target in targets
    )


def student_shape(config: StudentConfig, image_size: int, more_tokens: int = 0) -> ViTConfig:
    """The architecture of a new student; `more_tokens` further registers serve as class tokens of teachers."""
    given = {
        name: value for name in ("dim", "depth", "num_heads") if (value := getattr(config, name)) is not None
    }
    return vit_config(
        config.size,
        patch_size=config.patch_size,
        image_size=image_size,
        num_registers=config.num_registers + more_tokens,
        layer_scale=config.layer_scale,
        drop_path=config.drop_path,
        window=config.window,
        num_global=config.num_global,
        **given,
    )


def build_encoder(
    config: StudentConfig, image_size: int, more_tokens: int = 0
) -> ViTEncoder | NetworkEncoder:
    """Create a student's encoder, with random weights or those of `network`.

    Raises:
        ConfigError: if a network's number of pixels per token is not `patch_size`, or it does not take the image size.
    """
    if not config.network:
        return ViTEncoder(student_shape(config, image_size, more_tokens), name=config.size)
    encoder = fresh_network(config.network, image_size, config.drop_path)
    stride = encoder.spec.patch_size
    if stride != config.patch_size:
        raise ConfigError(
            f"student.network {config.network} has {stride} pixels per token; student.patch_size says "
            f"{config.patch_size}. Add --student.patch-size {stride}, and image sizes that are multiples of it."
        )
    return encoder


def build_student(recipe: Recipe, targets: tuple[TargetSpec, ...]) -> tuple[Student, list[str]]:
    """Create the student, with random weights or from `student.init`.

    Returns:
        The student, and a line for each part that `init` lacks.

    Raises:
        ConfigError: if the encoder of `init` has another architecture.
    """
    config = recipe.student
    start = None
    if config.init:
        start = load_any_student(os.path.expandvars(config.init), image_size=recipe.image_size)
    with seeded(recipe.engine.seed):
        targets = with_class_tokens(config, targets, () if start is None else start.targets)
        more = max((target.token for target in targets), default=0)
        encoder = build_encoder(config, recipe.image_size, more)
        if start is not None:
            encoder = encoder_like(start.encoder, encoder, config, more)
        rotated, floor = recipe.distill.targets.transform == "phi_s", recipe.distill.targets.std_floor
        student = Student(encoder, targets, config.projector, rotated_targets=rotated, std_floor=floor)
    lacking = [t.name for t in targets if "cls" in t.projected and not encoder.config.has_cls]
    if lacking:
        raise ConfigError(
            f"student.init {config.init!r} has no class token to match those of {', '.join(lacking)} with; give these "
            "teachers kinds = patch"
        )
    fresh = [] if start is None else copy_matching(start, student)
    if config.freeze_encoder:
        student.encoder.requires_grad_(False)
    if config.ema:
        student.keep_average(config.ema)
    if config.damp:
        student.disturb_weights(config.damp)
    return student, fresh


_SHAPE = ("dim", "depth", "num_heads", "patch_size", "num_registers")


def encoder_like(
    start: ViTEncoder | NetworkEncoder,
    wanted: ViTEncoder | NetworkEncoder,
    config: StudentConfig,
    more_tokens: int = 0,
) -> ViTEncoder | NetworkEncoder:
    """Create an encoder like a released one: its architecture, normalization and licence, with the recipe's drop-path.

    Args:
        start: the released encoder.
        wanted: an encoder of the recipe's architecture; the sizes of both must agree.
        config: the recipe's student.
        more_tokens: number of registers of `wanted` that serve as class tokens of teachers.

    Raises:
        ConfigError: if the sizes differ; the text says what to add to the command.
    """
    given = start.config
    if (
        not isinstance(start, ViTEncoder)
        or not isinstance(wanted, ViTEncoder)
        or isinstance(given, NetworkConfig)
    ):
        return _network_like(start, wanted, config)
    if any(getattr(given, name) != getattr(wanted.config, name) for name in _SHAPE):
        sizes = {name: getattr(given, name) for name in _SHAPE}
        named = [size for size, known in VIT_SIZES.items() if all(sizes[n] == known[n] for n in _SHAPE[:3])]
        flags: dict[str, object] = {"size": named[0]} if named else {}
        apart = [name for name in _SHAPE[:3] if not named or getattr(config, name) is not None]
        flags |= {name: sizes[name] for name in apart}  # they outweigh the size
        flags |= {name: sizes[name] for name in _SHAPE[3:]}
        if more_tokens > given.num_registers:
            raise ConfigError(
                f"student.init {config.init!r} has {given.num_registers} registers; student.class_tokens per_teacher "
                f"needs {more_tokens} of them. Use student.class_tokens shared."
            )
        flags["num_registers"] = given.num_registers - more_tokens
        text = " ".join(f"--student.{name.replace('_', '-')} {value}" for name, value in flags.items())
        theirs, ours = (
            ", ".join(f"{name} {getattr(c, name)}" for name in _SHAPE) for c in (given, wanted.config)
        )
        raise ConfigError(
            f"student.init {config.init!r} is another architecture ({theirs}) than the recipe's student ({ours}). "
            f"Add: {text}"
        )
    return ViTEncoder(
        replace(given, drop_path=config.drop_path, window=config.window, num_global=config.num_global),
        name=wanted.spec.name,
        licence=start.spec.licence if start.spec.licence != "unknown" else "unknown (of student.init)",
        mean=tuple(start.spec.mean),
        std=tuple(start.spec.std),
    )


def _network_like(
    start: ViTEncoder | NetworkEncoder, wanted: ViTEncoder | NetworkEncoder, config: StudentConfig
) -> NetworkEncoder:
    """Give the recipe's network the normalization and licence of released weights of the same network."""
    if not isinstance(start, NetworkEncoder) or not isinstance(wanted, NetworkEncoder):
        theirs = (
            f"--student.network timm:{start.config.model}"
            if isinstance(start, NetworkEncoder)
            else "no network"
        )
        raise ConfigError(
            f"student.init {config.init!r} and the recipe's student are a network of timm and a vision transformer. "
            f"Say what student.init is: {theirs}"
        )
    if start.config.model != wanted.config.model:
        raise ConfigError(
            f"student.init {config.init!r} is timm's {start.config.model}, the recipe's student "
            f"{wanted.config.model}. Add: --student.network timm:{start.config.model}"
        )
    licence = start.spec.licence if start.spec.licence != "unknown" else "unknown (of student.init)"
    wanted.spec = replace(
        wanted.spec, mean=tuple(start.spec.mean), std=tuple(start.spec.std), licence=licence
    )
    return wanted


@torch.no_grad()
def copy_matching(start: nn.Module, student: Student) -> list[str]:
    """Copy tensors whose name and shape match; return the student's names without a match."""
    given = start.state_dict()
    fresh = []
    for name, tensor in student.state_dict().items():
        if name in given and given[name].shape == tensor.shape:
            tensor.copy_(given[name])
        elif not name.endswith("mask_token"):
            fresh.append(name)
    return fresh

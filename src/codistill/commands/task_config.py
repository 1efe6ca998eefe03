"""Build a task's config, test options, features and runtime from a command line."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from codistill.commands.config_flags import with_flags
from codistill.commands.parsers.task_options import Asked
from codistill.engine.distributed import Process, choose_device
from codistill.errors import ConfigError
from codistill.files.named_config import find_config
from codistill.nn.host_memory import keep_freed_memory
from codistill.tasks.shared.config import HeadFit, Runtime
from codistill.tasks.shared.features import FeatureConfig
from codistill.tasks.shared.head_files import is_head, read_record
from codistill.tasks.task import Task


def with_features(features: FeatureConfig, flags: Sequence[str]) -> FeatureConfig:
    """Features with the fields from the command line; `--projector` replaces a level chosen before.

    Raises:
        ConfigError: if they contradict each other, or one has no effect.
    """
    named = [word.split("=")[0] for word in flags]
    if "--projector" in named:
        features = replace(features, projector=None, denormalize=False, blocks=(-1,))
    found = with_flags(features, flags, "codistill")
    idle = [name for name in named if name in ("--norm", "--no-norm")]
    if found.projector is not None and idle:
        raise ConfigError(
            f"{idle[0]} would have no effect: projectors take un-normed tokens, and what comes out of that of "
            f"{found.projector!r} has no final norm. Leave it out"
        )
    return found


def typed_features(task: Task, head: Path | None, flags: Sequence[str]) -> FeatureConfig | None:
    """Features from the command line, completed by those of a head or the task's first recipe; None if none are given.

    Raises:
        CheckpointError, ConfigError: if the head is damaged, or of another task.
    """
    if not flags:
        return None
    if head is not None and is_head(head):
        return with_features(read_record(head, task.heads or task.name).features, flags)
    first = next(iter(task.recipes.values()), None)
    return with_features(FeatureConfig() if first is None else first.features, flags)


def resolve_fit(task: Task, asked: Asked, data: str | None) -> HeadFit:
    """The requested fit: a recipe with data, features and fields from the command line.

    Raises:
        ConfigError: for an unknown recipe or an invalid field.
    """
    assert task.config is not None
    name = asked.recipe or next(iter(task.recipes))
    config: HeadFit = find_config(name, task.recipes, task.config)
    features = with_features(config.features, asked.flags.features)
    partial = config.partial or getattr(
        asked.own, "partial", False
    )  # `evaluate --partial` applies to the fit as well
    config = replace(config, features=features, data=data or config.data, partial=partial)
    return with_flags(config, asked.flags.fitting, f"codistill fit {task.name}")


def make_runtime(asked: Any, out: Path, command: Sequence[str], process: Process | None = None) -> Runtime:
    """Where a fit or an evaluation computes and writes; only the first process prints.

    On a CPU, this process keeps freed memory from here on, as in training.

    Args:
        asked: the command's own options.
        out: the folder of the head.
        command: the command line, for provenance.
        process: this process; None: the only one.
    """
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    device = choose_device(asked.device) if process is None else process.device
    if device.type == "cpu":
        keep_freed_memory()
    return Runtime(
        out=out,
        cache=getattr(asked, "cache", None),
        device=device,
        workers=getattr(asked, "workers", None),
        recompute=getattr(asked, "recompute", False),
        console=Console(stderr=True, quiet=process is not None and not process.is_main),
        command=tuple(command),
    )

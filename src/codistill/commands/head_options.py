"""Options that fitting and evaluating heads share: which features, how to fit, where to compute."""

import argparse
import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from codistill.commands.parsers.head_options import named_encoder, parse_numbers
from codistill.engine.distributed import Process, choose_device
from codistill.errors import ConfigError
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.features import FeatureConfig
from codistill.tasks.shared.head_files import read_record
from codistill.tasks.shared.progress import Lines


def feature_config(arguments: argparse.Namespace, norm: bool) -> FeatureConfig | None:
    """The features that were asked for; None where neither an encoder nor a baseline was named.

    Raises:
        ConfigError: for options that exclude each other.
    """
    encoder = named_encoder(arguments)
    if not encoder:
        return None
    return FeatureConfig(
        encoder=encoder,
        projector=arguments.projector,
        denormalize=arguments.denormalize,
        norm=norm if arguments.norm is None else arguments.norm == "on",
        blocks=parse_numbers(arguments.blocks, int, "--blocks") or (-1,),
    )


def head_features(arguments: argparse.Namespace, norm: bool, task: str) -> FeatureConfig | None:
    """What to put in place of the features that --head was fitted on; None for these.

    What is not asked for is as the head was fitted; of a released file, as `feature_config` has it.

    Raises:
        ConfigError: for options that exclude each other.
        CheckpointError: if there is no such head.
    """
    path = Path(arguments.head).expanduser()
    if path.is_file():
        return feature_config(arguments, norm)
    changes: dict[str, Any] = {}
    if encoder := named_encoder(arguments):
        changes["encoder"] = encoder
    if arguments.projector is not None:
        changes |= {"projector": arguments.projector, "denormalize": arguments.denormalize, "blocks": (-1,)}
    elif arguments.denormalize:
        changes["denormalize"] = True
    if arguments.norm is not None:
        changes["norm"] = arguments.norm == "on"
    if arguments.blocks:
        changes["blocks"] = parse_numbers(arguments.blocks, int, "--blocks")
    return replace(read_record(path, task).features, **changes) if changes else None


def needed_features(arguments: argparse.Namespace, norm: bool) -> FeatureConfig:
    """As `feature_config`, where features must be named."""
    config = feature_config(arguments, norm)
    if config is None:
        raise ConfigError("which features? add --encoder E (or --baseline colour)")
    return config


def make_runtime(
    arguments: argparse.Namespace, out: Path, command: list[str], process: Process | None = None
) -> Runtime:
    """Where a fit computes and writes; processes other than the first say nothing."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    return Runtime(
        out=out,
        cache=getattr(arguments, "cache", None),
        device=choose_device(arguments.device) if process is None else process.device,
        workers=arguments.workers,
        recompute=getattr(arguments, "recompute", False),
        console=Console(stderr=True, quiet=process is not None and not process.is_main),
        command=tuple(command),
    )


class ImageProgress:
    """A bar over images, on the standard error stream; call it with images done and in all.

    Where that stream is no terminal it says a line when it begins, and one every half minute with the time left.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        console = Console(file=sys.stderr)
        self._bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._line = self._bar.add_task("", total=None)
        self._lines: Lines | None = None

    def __enter__(self) -> "ImageProgress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, done: int, total: int) -> None:
        if self._bar.console.is_terminal:
            self._bar.update(self._line, completed=done, total=total)
            return
        if self._lines is None:
            _say(f"{self._title}: {total} in all")
            self._lines = Lines(_say, self._title, total)
        self._lines(done)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

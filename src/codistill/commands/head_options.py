"""Options that fitting and evaluating heads share: which features, how to fit, where to compute."""

import argparse
import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from codistill.engine.distributed import Process, choose_device
from codistill.errors import ConfigError
from codistill.tasks.frozen.config import Runtime
from codistill.tasks.frozen.features import FeatureConfig
from codistill.tasks.frozen.head_files import read_record
from codistill.tasks.frozen.progress import Lines


def add_feature_options(parser: argparse.ArgumentParser, norm: bool) -> None:
    """--encoder or --baseline, and which of its features; `norm` is the task's default."""
    group = parser.add_argument_group("features")
    group.add_argument(
        "--encoder", metavar="E", help="file, run, export, known name, timm:…, hf:…, random:SIZE"
    )
    group.add_argument(
        "--baseline",
        metavar="NAME",
        help="in place of an encoder: colour (mean colour, its spread, position)",
    )
    group.add_argument(
        "--projector", metavar="TEACHER", help="features after a student's projector of TEACHER"
    )
    group.add_argument(
        "--denormalize",
        action="store_true",
        help="bring projected features back into the teacher's own space",
    )
    group.add_argument(
        "--norm",
        choices=("on", "off"),
        help=f"the encoder's final norm ({'on' if norm else 'off'}; never before a projector)",
    )
    group.add_argument(
        "--blocks", metavar="B,…", help="blocks whose outputs are used together, e.g. 8,9,10,11 (the last)"
    )


def add_other_encoder_option(parser: Any) -> None:
    """--other-encoder; for a parser or a group of one."""
    parser.add_argument(
        "--other-encoder",
        action="store_true",
        help="let --encoder be another one than the head was fitted on (refused otherwise)",
    )


def add_fit_options(
    parser: argparse.ArgumentParser, *, rates: tuple[float, ...], published: str, pixels: int, decay: float
) -> None:
    """How a dense head is fitted."""
    group = parser.add_argument_group("fitting")
    group.add_argument(
        "--protocol",
        choices=("cached", "published"),
        default="cached",
        help="cached: several heads on stored features; published: one head, fresh views every step (cached)",
    )
    group.add_argument(
        "--steps", type=int, help="optimizer steps (the data set's own number; cached: fewer on little data)"
    )
    group.add_argument("--batch-size", type=int, default=16, help="views of a step (16)")
    group.add_argument(
        "--lr",
        metavar="R,…",
        help=f"learning rates, one head each (cached: {','.join(f'{r:g}' for r in rates)}; published: {published})",
    )
    group.add_argument("--weight-decay", type=float, default=decay, help=f"({decay:g})")
    group.add_argument(
        "--views", type=int, help="cached: random views of each image (4; 2 of more than 250 images)"
    )
    group.add_argument(
        "--pixels", type=int, default=pixels, help=f"cached: random pixels of each view and step ({pixels})"
    )
    group.add_argument("--size", type=int, help="side of the views, for square images (the data set's)")
    group.add_argument("--fit-limit", type=int, metavar="N", help="train on N images, evenly spread (all)")
    group.add_argument("--seed", type=int, default=0)
    group.add_argument("--cache", type=Path, metavar="DIR", help="where features are kept (OUT/cache)")
    group.add_argument("--partial", action="store_true", help="use a data set of which images are missing")


def add_unfreeze_options(parser: Any) -> None:
    """Whether the encoder trains with the head; for a parser or a group of one."""
    parser.add_argument(
        "--unfreeze", action="store_true", help="train the encoder as well; it is kept in HEAD/encoder"
    )
    parser.add_argument(
        "--encoder-lr-scale",
        type=float,
        default=1.0,
        metavar="F",
        help="with --unfreeze: the encoder's learning rate, relative to the head's (1)",
    )
    parser.add_argument(
        "--recompute",
        action="store_true",
        help="compute blocks again in the backward pass: less memory, about a third more time",
    )


def add_runtime_options(parser: argparse.ArgumentParser) -> None:
    """Where to compute."""
    group = parser.add_argument_group("computing")
    group.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"), help="(auto)")
    group.add_argument("--workers", type=int, help="loader processes; 0: none (the CPUs of this process)")


def feature_config(arguments: argparse.Namespace, norm: bool) -> FeatureConfig | None:
    """The features that were asked for; None where neither an encoder nor a baseline was named.

    Raises:
        ConfigError: for options that exclude each other.
    """
    encoder = _encoder(arguments)
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
    if encoder := _encoder(arguments):
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


def _encoder(arguments: argparse.Namespace) -> str | None:
    if arguments.encoder and arguments.baseline:
        raise ConfigError("--encoder and --baseline exclude each other: name one of them")
    return f"baseline:{arguments.baseline}" if arguments.baseline else arguments.encoder


def needed_features(arguments: argparse.Namespace, norm: bool) -> FeatureConfig:
    """As `feature_config`, where features must be named."""
    config = feature_config(arguments, norm)
    if config is None:
        raise ConfigError("which features? add --encoder E (or --baseline colour)")
    return config


def parse_numbers(text: str | None, kind: Callable[[str], Any], option: str) -> tuple[Any, ...]:
    """`1,2,3` as numbers; nothing as ().

    Raises:
        ConfigError: for anything else.
    """
    if not text:
        return ()
    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"{option} {text}: expected numbers with commas between them") from None


def fit_fields(arguments: argparse.Namespace, rates: tuple[float, ...], published: float) -> dict[str, Any]:
    """The fields of a `HeadFit` that `add_fit_options` sets."""
    default = (published,) if arguments.protocol == "published" else rates
    return {
        "data": needed_data(arguments),
        "protocol": arguments.protocol,
        "steps": arguments.steps,
        "batch_size": arguments.batch_size,
        "learning_rates": parse_numbers(arguments.lr, float, "--lr") or default,
        "weight_decay": arguments.weight_decay,
        "views": arguments.views,
        "pixels": arguments.pixels,
        "seed": arguments.seed,
        "size": arguments.size,
        "limit": arguments.fit_limit,
        "partial": arguments.partial,
    }


def needed_data(arguments: argparse.Namespace) -> str:
    """--data.

    Raises:
        ConfigError: if it is not there.
    """
    if not arguments.data:
        raise ConfigError("which data set? add --data KIND:FOLDER")
    return arguments.data


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

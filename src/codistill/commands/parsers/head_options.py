"""Options that fitting, evaluating and using heads share: which features, how to fit, where to compute."""

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from codistill.errors import ConfigError
from codistill.files.specs import parse_spec


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


def needed_data(arguments: argparse.Namespace) -> str:
    """--data.

    Raises:
        ConfigError: if it is not there.
    """
    if not arguments.data:
        raise ConfigError("which data set? add --data KIND:FOLDER")
    return arguments.data


def named_encoder(arguments: argparse.Namespace) -> str | None:
    """The encoder or baseline that was named, if any.

    Raises:
        ConfigError: if both were.
    """
    if arguments.encoder and arguments.baseline:
        raise ConfigError("--encoder and --baseline exclude each other: name one of them")
    return f"baseline:{arguments.baseline}" if arguments.baseline else arguments.encoder


def check_fit(arguments: argparse.Namespace, kinds: Sequence[str] = ()) -> argparse.Namespace:
    """Refuse a fit of nothing; the arguments.

    Args:
        arguments: as parsed.
        kinds: of data set that --data may name; none: it names a folder.

    Raises:
        ConfigError: where features or data are not named, or of no known kind.
    """
    if named_encoder(arguments) is None:
        raise ConfigError("which features? add --encoder E (or --baseline colour)")
    data = needed_data(arguments)
    if kinds:
        parse_spec(data, kinds)
    for option, kind in (("blocks", int), ("lr", float)):
        text = getattr(arguments, option, None)
        if isinstance(text, str):
            parse_numbers(text, kind, f"--{option}")
    return arguments

"""Parse a task's options before the task is imported (its config, test options and layouts), and list them in help.

A task's own options are fields of two dataclasses: how a head is fitted (`Task.config`), and how it is tested
(`Task.test`, for predictions `Prediction.options`). Flags for fields of `features` omit that prefix: `--encoder E`.
"""

import argparse
import ast
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from codistill.commands.parsers.task_text import TaskText, added_names, read_task
from codistill.errors import ConfigError
from codistill.files.dataclass_fields import (
    FieldText,
    check_flags,
    fields_of,
    path_of_flag,
)
from codistill.files.specs import parse_spec
from codistill.weights.shipped import given_head

FEATURES = "features."
FEATURE_CLASS = "codistill.tasks.shared.features:FeatureConfig"


@dataclass(frozen=True, kw_only=True)
class TaskFlags:
    """A task's flags on the command line with their values, sorted by the config to which they belong.

    Attributes:
        features: flags that choose encoder and features.
        fitting: flags that say how a head is fitted.
        testing: flags that say how it is tested.
    """

    features: tuple[str, ...] = ()
    fitting: tuple[str, ...] = ()
    testing: tuple[str, ...] = ()


def sort_flags(
    words: Sequence[str],
    task: TaskText,
    parser: argparse.ArgumentParser,
    *,
    fitting: str | None,
    testing: str | None,
) -> TaskFlags:
    """Sort a task's options, and refuse unknown ones.

    Args:
        words: flags and values that the command's own parser did not take.
        task: the task.
        parser: parser of the command, whose flags are suggested too for a mistyped one.
        fitting: prefix of the fields of the fit: "" for `fit`, "fit." for `evaluate`; None: there is no fit.
        testing: which options are allowed, `testing` or `output`; None for none.

    Raises:
        ConfigError: for an option that does not exist (the text names the nearest ones), or a value without an option.
    """
    known = known_flags(task, fitting=fitting, testing=testing)
    sorted_words: dict[str, list[str]] = {"features": [], "fitting": [], "testing": []}
    place: list[str] | None = None
    for word in words:
        if not word.startswith("--"):
            if place is None:
                raise ConfigError(
                    f"{word!r} belongs to no option; {parser.prog} {task.name} --help lists them"
                )
            place.append(word)
            continue
        path = path_of_flag(word)
        if task.features and path in FEATURE_NAMES and path not in task.features:
            taken = " and ".join(f"--{name}" for name in task.features)
            raise ConfigError(f"--{path} is not for {task.name}: its features are chosen by {taken} alone")
        if known is not None and path not in known:
            own = [flag for action in parser._actions for flag in action.option_strings]
            check_flags([word], known, f"{parser.prog} {task.name} --help lists them all.", own)
        if path in FEATURE_NAMES or path.startswith(FEATURES):
            place = sorted_words["features"]
            word = word.replace(f"--{FEATURES}", "--", 1)
        elif fitting is not None and path.startswith(fitting) and (fitting or testing is None):
            place = sorted_words["fitting"]
            word = word.replace(f"--{fitting}", "--", 1) if fitting else word
        else:
            place = sorted_words["testing"]
        place.append(word)
    return TaskFlags(**{name: tuple(words) for name, words in sorted_words.items()})


FEATURE_NAMES = tuple(fields_of(FEATURE_CLASS))
"""Fields of `features`, whose flags omit that prefix."""


def known_flags(task: TaskText, *, fitting: str | None, testing: str | None) -> dict[str, FieldText] | None:
    """Fields that are options, by path; None if they are unknown."""
    own = task.fitting or {}
    every = fields_of(FEATURE_CLASS)
    known = {
        path: replace(own.get(f"{FEATURES}{path}", every[path]), path=path) for path in task.features or every
    }
    parts = [] if fitting is None else [(fitting, task.fitting)]
    parts += [] if testing is None else [("", task.testing if testing == "testing" else task.output)]
    for prefix, fields in parts:
        if fields is None:
            return None
        for path, one in fields.items():
            if not path.startswith(FEATURES):
                full = f"{prefix}{path}"
                known[full] = FieldText(full, one.kind, one.default, one.about)
    return known


def list_fields(title: str, fields: Mapping[str, FieldText]) -> str:
    lines = [f"\n{title}:"]
    for one in fields.values():
        default = _shown_default(one.default)
        head = f"  {one.flag} {_shown_type(one)}".rstrip()
        text = f"{one.about[:1].lower()}{one.about[1:]}{f' [{default}]' if default else ''}"
        indent = " " * 32
        wrapped = textwrap.wrap(text, 116, initial_indent=indent, subsequent_indent=indent) or [""]
        if len(head) < len(indent) - 1:
            wrapped[0] = head + wrapped[0][len(head) :]
        else:
            lines.append(head)
        lines += wrapped
    return "\n".join(lines)


def _shown_default(text: str) -> str:
    """A default as it would be typed on a command line."""
    if text in ("", "None", "''", "()"):
        return ""
    try:
        value = ast.literal_eval(text)
    except ValueError:
        return text
    if isinstance(value, bool):
        return "on" if value else "off"
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _shown_type(one: FieldText) -> str:
    kind = one.kind.replace(" | None", "")
    if kind.startswith("Literal["):
        choices = ast.literal_eval(kind.removeprefix("Literal"))
        return "{" + ",".join(map(str, choices)) + "}"
    if kind == "bool":
        return (
            f"| --{'.'.join((*one.path.split('.')[:-1], 'no-' + one.path.split('.')[-1])).replace('_', '-')}"
        )
    words = {"int": "N", "float": "X", "str": "TEXT", "Path": "PATH"}
    if kind.startswith("tuple["):
        inner = kind.removeprefix("tuple[").removesuffix("]").split(", ")
        if inner[-1] == "...":
            return f"{words.get(inner[0], 'VALUE')} …"
        return " ".join(words.get(part, "VALUE") for part in inner)
    return words.get(kind, "VALUE")


def help_text(
    usage: str, parser: argparse.ArgumentParser, sections: Mapping[str, Mapping[str, FieldText] | None]
) -> str:
    """Help of a command with a task: the command's own options, then the task's, in titled sections."""
    own = parser.format_help().partition("\n\n")[2].rstrip()
    typed = {action.dest for action in parser._actions}
    parts = []
    for title, fields in sections.items():
        shown = {path: one for path, one in (fields or {}).items() if path not in typed}
        parts += [list_fields(title, shown)] if shown else []
    return "\n".join([f"usage: {usage}", "", own, *parts])


def list_tasks(usage: str, places: Iterable[str], more: Mapping[str, str]) -> str:
    about = {name: read_task(name).about for name in places} | dict(more)
    about |= dict.fromkeys(added_names(), "of an installed package")
    width = max(map(len, about))
    return "\n".join([f"usage: {usage}", "", *(f"  {name:<{width}}  {text}" for name, text in about.items())])


def describe_task(task: TaskText) -> str:
    """The text that `--list` prints: recipes, layouts, baselines."""
    parts = {"recipes": task.recipes, "layouts": task.layouts, "baselines": task.baselines}
    lines = [f"{task.name}: {task.about}"]
    lines += [f"  {name}: {', '.join(names)}" for name, names in parts.items() if names]
    return "\n".join(lines)


def check_data(spec: str | None, task: TaskText) -> None:
    """Refuse a layout that the task does not have.

    Raises:
        ConfigError: for an unknown layout; the text lists the known ones.
    """
    if spec and task.layouts is not None:
        parse_spec(spec, task.layouts)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The parsed command line of a command with a task.

    Attributes:
        task: the task.
        recipe: name or file of a recipe; "" for the task's first.
        own: the command's own options.
        flags: the task's options.
    """

    task: TaskText
    recipe: str = ""
    own: argparse.Namespace = field(default_factory=argparse.Namespace)
    flags: TaskFlags = field(default_factory=TaskFlags)


LOADER = "loader processes; 0: none (the CPUs of this process)"
READERS = "loader processes of a fit, threads that read what is scored; 0: none (the CPUs of this process; 1)"


def add_computing(parser: argparse.ArgumentParser, *, workers: str = LOADER) -> None:
    """Add --device, and --workers with a help text; without, for commands that read nothing ahead."""
    group = parser.add_argument_group("computing")
    group.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"), help="(auto)")
    if workers:
        group.add_argument("--workers", type=int, metavar="N", help=workers)


def choose_head(own: argparse.Namespace, task: str) -> None:
    """Set `head` to the path that is meant, and `unnamed` to whether the first model that ships is taken.

    Raises:
        ConfigError: for a head and a released model together, or if no model that ships has a head for the task.
        CheckpointError: if the named model has none.
    """
    if own.head is not None and own.model is not None:
        raise ConfigError("--head and --model exclude each other: name one of them")
    own.unnamed = own.head is None and own.model is None
    if own.model is None:
        own.head = given_head(own.head, task)


def add_other_encoder_option(parser: argparse.ArgumentParser, *, shown: bool = True) -> None:
    """Add --other-encoder; help shows it only if `shown`."""
    parser.add_argument(
        "--other-encoder",
        action="store_true",
        help="let --encoder be another one than the head was fitted on (refused otherwise)"
        if shown
        else argparse.SUPPRESS,
    )

"""Catalogue of all command lines, `codistill WORD …` with their options, read from the parsers.

Nothing heavy is imported. The command reference, shell completion and the tests of the documentation's examples are
made from the catalogue, so that they cannot name an option that does not exist.
"""

import argparse
import ast
import contextlib
import importlib
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from codistill.commands.dispatch import PARSERS
from codistill.commands.parsers.task_options import known_flags
from codistill.commands.parsers.task_text import read_task, task_places
from codistill.files.dataclass_fields import FieldText, fields_of, value_of
from codistill.recipes.names import RECIPE_NAMES

RECIPE = "codistill.recipes.recipe:Recipe"
PARTS = {"bench": "BENCHMARKS"}
"""For commands whose parts have their own parsers: the name of the table of parts."""

Options = dict[str, tuple[str, ...] | None]
"""For each flag, the words that may follow it: allowed words, () for any value, None for no value."""


@dataclass(frozen=True, kw_only=True)
class CommandLine:
    """A command, or a command with its task or part.

    Attributes:
        words: words after `codistill`, e.g. `("fit", "depth")`.
        options: its flags, see `Options`.
        next: words that can directly follow these: tasks, parts, recipes.
        short: another spelling, e.g. `("depth",)` for `("predict", "depth")`.
        module: module of its parser; None where a part must be named first.
    """

    words: tuple[str, ...]
    options: Options = field(default_factory=dict)
    next: tuple[str, ...] = ()
    short: tuple[str, ...] | None = None
    module: str | None = None

    def help(self) -> str:
        """The text that `codistill WORD … --help` prints."""
        if self.module is None:
            return f"usage: codistill {' '.join(self.words)} {'|'.join(self.next)} [arguments]\n"
        parse = importlib.import_module(f"{PARSERS}.{self.module}").parse
        rest = self.words[1:] if self.module == self.words[0] else ()
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
            parse([*rest, "--help"])
        return said.getvalue()


@cache
def command_lines() -> Mapping[tuple[str, ...], CommandLine]:
    """Every command line by its words, in the order of `codistill --help`."""
    return {line.words: line for name in table("codistill.cli", "COMMANDS") for line in _lines(name)}


@cache
def table(module: str, name: str) -> Any:
    """A table of plain values, read from the source of a module."""
    value = value_of(module, name)
    assert value is not None, f"{module}: {name}"
    return ast.literal_eval(value)


def _lines(name: str) -> Iterator[CommandLine]:
    """Yield a command, then its tasks or parts."""
    if name in PARTS:
        parts = table(f"codistill.commands.{name}", PARTS[name])
        yield CommandLine(words=(name,), next=tuple(parts))
        for part, place in parts.items():
            yield _of_module((name, part), _module(place))
        return
    module = _module(table("codistill.cli", "COMMANDS")[name][0])
    if name in ("fit", "evaluate", "predict"):
        yield from _of_tasks(name)
        return
    parser: argparse.ArgumentParser | None
    parser = getattr(importlib.import_module(f"{PARSERS}.{module}"), "PARSER", None)
    actions = parser._actions if parser else ()
    inner = next((action for action in actions if isinstance(action, argparse._SubParsersAction)), None)
    if parser is None or inner is None:
        yield _of_module((name,), module)
        return
    yield CommandLine(words=(name,), options=_of_parser(parser), next=tuple(inner.choices), module=module)
    for word, one in inner.choices.items():
        yield CommandLine(words=(name, word), options=_of_parser(one), module=module)


def _of_module(words: tuple[str, ...], module: str) -> CommandLine:
    """A command with the options of its parser, and the fields of a recipe if it takes them."""
    found: Any = importlib.import_module(f"{PARSERS}.{module}")
    takes_recipe = hasattr(found, "check_overrides")
    line = CommandLine(words=words, next=RECIPE_NAMES * takes_recipe, module=module)
    options = _of_help(line.help())
    options |= _of_parser(found.PARSER) if hasattr(found, "PARSER") else {}
    options |= _of_fields(fields_of(RECIPE).values()) if takes_recipe else {}
    return replace(line, options=options)


def _of_tasks(name: str) -> Iterator[CommandLine]:
    """Yield `fit`, `evaluate` or `predict` alone, then with each task that supports it."""
    module: Any = importlib.import_module(f"{PARSERS}.{name}")
    tasks = {task: read_task(task) for task in task_places()}
    served = {
        task: text
        for task, text in tasks.items()
        if name == "evaluate" or (name == "fit" and not text.no_fit) or (name == "predict" and text.writes)
    }
    others: Mapping[str, tuple[str, str]] = module.OWN if name == "evaluate" else {}
    yield CommandLine(
        words=(name,), options={"--list": None, "--help": None}, next=(*served, *others), module=name
    )
    short = {task: word for word, task in table("codistill.cli", "SHORT").items()}
    parts = {"fit": ("", None), "evaluate": ("fit.", "testing"), "predict": (None, "output")}
    fitting, testing = parts[name]
    for task, text in served.items():
        parser = module.make_parser(text) if name == "evaluate" else module.PARSER
        fields = known_flags(text, fitting=fitting, testing=testing) or {}
        yield CommandLine(
            words=(name, task),
            options={"--help": None} | _of_parser(parser) | _of_fields(fields.values()),
            next=(text.recipes or ()) if name == "fit" else (),
            short=(short[task],) if name == "predict" and task in short else None,
            module=name,
        )
    for part, (place, _) in others.items():
        own = _of_module((part,), place.rpartition(".")[2])
        yield replace(own, words=(name, part), next=(), module=name)


def _module(place: str) -> str:
    return place.partition(":")[0].rpartition(".")[2]


def _of_parser(parser: argparse.ArgumentParser) -> Options:
    found: Options = {}
    for action in parser._actions:
        takes = action.nargs != 0
        value = tuple(map(str, action.choices)) if takes and action.choices else () if takes else None
        if action.help != argparse.SUPPRESS:
            found |= {flag: value for flag in action.option_strings if flag.startswith("--")}
    return found


_IN_HELP = re.compile(r"^  (--[a-z][\w.-]*)(?: \| (--[a-z][\w.-]*)| (\S[^\n]*?))?(?=  |$)", re.MULTILINE)
"""Matches a flag at the beginning of a line, with its opposite or the name of its value."""


def _of_help(text: str) -> Options:
    """Options parsed from a help text, for commands whose options are not all in one parser."""
    found: Options = {}
    for flag, opposite, value in _IN_HELP.findall(text):
        choices = tuple(value[1:-1].split(",")) if value.startswith("{") else ()
        found |= {flag: choices if value else None} | ({opposite: None} if opposite else {})
    return found


def _of_fields(fields: Iterable[FieldText]) -> Options:
    """Flags of the fields of configs; a boolean field has two."""
    found: Options = {}
    for one in fields:
        kind = one.kind.replace(" | None", "")
        if kind == "bool":
            head, dot, last = one.flag[2:].rpartition(".")
            found |= {one.flag: None, f"--{head}{dot}no-{last}": None}
        elif kind.startswith("Literal["):
            found[one.flag] = tuple(map(str, ast.literal_eval(kind.removeprefix("Literal"))))
        else:
            found[one.flag] = ()
    return found

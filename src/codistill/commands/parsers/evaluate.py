"""Options of `codistill evaluate TASK`."""

import argparse
import importlib
import sys
from collections.abc import Mapping
from pathlib import Path

from codistill.commands.parsers.task_options import (
    Asked,
    TaskText,
    add_computing,
    add_other_encoder_option,
    check_data,
    describe_task,
    help_text,
    known_flags,
    list_tasks,
    read_task,
    sort_flags,
    task_places,
)
from codistill.errors import ConfigError, unknown_name
from codistill.files.named_config import check_config_name

USAGE = (
    "codistill evaluate TASK --head HEAD | --encoder E | --model FILE | --baseline NAME  [--OPTION VALUE …]"
)
MORE = """\
--head scores a fitted head on the data it was fitted on, unless --data says otherwise; --encoder then puts another
encoder under it. Without one, a head is fitted first, in OUT/head: --encoder E --data LAYOUT:FOLDER --out OUT
[--recipe R] [--fit.FIELD VALUE …] (see `codistill fit TASK --help`). What is scored is opened before that.
"""
OWN: Mapping[str, tuple[str, str]] = {
    "distillation": (
        "codistill.commands.evaluate_distillation",
        "a student against its teachers' held-out tokens",
    ),
    "mapfree": (
        "codistill.commands.evaluate_mapfree",
        "relocalization as the Map-free benchmark has it: a submission is written and scored",
    ),
}
"""Evaluations that are no task's: module and a line."""


PARSER = argparse.ArgumentParser(prog="codistill evaluate", add_help=False, allow_abbrev=False)
add = PARSER.add_argument
add("--head", type=Path, metavar="HEAD", help="of `codistill fit`, or a released file of a head")
add("--model", type=Path, metavar="FILE", help="a released file of encoder and head together")
add("--baseline", metavar="NAME", help="a method that learns nothing; --list names them")
add_other_encoder_option(PARSER)
add("--data", metavar="LAYOUT:FOLDER", help="what to score on (what the head was fitted on)")
add("--split", help="(test where the data has one, else val)")
add("--limit", type=int, metavar="N", help="score N samples, evenly spread (all)")
add("--partial", action="store_true", help="use a data set of which images are missing")
add("--pictures", type=int, default=6, metavar="N", help="examples in pictures.png (6)")
add("--against", type=Path, metavar="OUT", help="paired difference to an evaluation's folder")
add("--score", metavar="NAME", help="whose difference (the task's first)")
add("--margin", type=float, metavar="X", help="call differences within ± X equal")
add("--out", type=Path, metavar="OUT", help="folder of the results (HEAD/evaluation)")
add("--recipe", default="", metavar="R", help="of a head that is fitted first")
add("--cache", type=Path, metavar="DIR", help="where its features are kept (OUT/head/cache)")
add("--json", action="store_true", help="print the metrics as JSON instead of a table")
add("--list", action="store_true", help="list recipes, layouts and baselines")
add("--print-config", action="store_true", help="print what would be fitted and tested, and stop")
add_computing(PARSER)


def parse(argv: list[str]) -> Asked:
    """The checked arguments; ends the process after --help.

    Raises:
        ConfigError: for an unknown task or option, or where something is missing or would have no effect.
    """
    if not argv or argv[0] in ("-h", "--help", "--list"):
        print(list_tasks(USAGE, task_places(), {name: about for name, (_, about) in OWN.items()}))
        sys.exit(0 if argv else 2)
    if argv[0] in OWN:
        module = OWN[argv[0]][0].rpartition(".")[2]
        importlib.import_module(f"codistill.commands.parsers.{module}").parse(argv[1:])
        return Asked(task=TaskText(name=argv[0]))
    task, rest = read_task(argv[0]), argv[1:]
    if {"-h", "--help"} & set(rest):
        sections = {"features": known_flags(task, fitting=None, testing=None), "options": task.testing}
        usage = USAGE.replace("TASK", task.name)
        print(f"{describe_task(task)}\n\n{help_text(usage, PARSER, sections)}\n\n{MORE}", end="")
        sys.exit(0)
    own, words = PARSER.parse_known_args(rest)
    if own.list:
        print(describe_task(task))
        sys.exit(0)
    flags = sort_flags(words, task, fitting="fit.", testing="testing")
    asked = Asked(task=task, recipe=own.recipe, own=own, flags=flags)
    check_data(own.data, task)
    _check_subject(asked)
    if own.margin is not None and own.against is None:
        raise ConfigError("--margin would have no effect without --against OUT")
    if own.score is not None and own.against is None:
        raise ConfigError("--score would have no effect without --against OUT")
    return asked


def _check_subject(asked: Asked) -> None:
    """Refuse an evaluation of nothing, or of two things, and options that would do nothing."""
    own, task = asked.own, asked.task
    if own.head is not None and own.model is not None:
        raise ConfigError("--head and --model exclude each other: name one of them")
    if own.baseline is not None and task.baselines is not None:
        _check_baseline(own, task)
    named = own.head is not None or own.model is not None or own.baseline is not None
    fitted = bool(task.fitting) and not named
    encoder = any(word.split("=")[0] == "--encoder" for word in asked.flags.features)
    idle = [f"--fit.{word[2:]}" for word in asked.flags.fitting if word.startswith("--")]
    idle += ["--recipe"] if asked.recipe else []
    idle += ["--cache"] if own.cache is not None else []
    if idle and not fitted:
        raise ConfigError(
            f"{', '.join(idle)} would have no effect: nothing is fitted here. Leave it out, or fit a head "
            "anew with --encoder E --data … --out OUT and no --head."
        )
    if task.fitting is None or own.print_config:
        return
    folder = "LAYOUT:FOLDER"
    if task.heads and not named:
        raise ConfigError(
            f"what is to be scored? add --head HEAD of `codistill fit {task.heads}`, or --model FILE"
            + (f", or --baseline {'|'.join(task.baselines)}" if task.baselines else "")
        )
    if not named and not encoder:
        raise ConfigError(
            f"what is to be scored? add --head HEAD, or --encoder E --data {folder} --out OUT"
            + (" to fit a head first" if task.fitting else "")
        )
    if own.head is None and (own.data is None or own.out is None):
        missing = [
            text for text, value in ((f"--data {folder}", own.data), ("--out OUT", own.out)) if value is None
        ]
        raise ConfigError(f"where from, where to? add {' '.join(missing)}")
    if asked.recipe:
        check_config_name(asked.recipe, task.recipes)


def _check_baseline(own: argparse.Namespace, task: TaskText) -> None:
    """Refuse a baseline that the task does not have, and one that needs a head, or none."""
    if not task.baselines:
        raise ConfigError(
            f"{task.name} has no baselines; an encoder that knows colours alone is --encoder baseline:colour"
        )
    if own.baseline not in task.baselines:
        raise ConfigError(unknown_name("baseline", own.baseline, task.baselines))
    headed = own.head is not None or own.model is not None
    if own.baseline in task.on_head and not headed:
        raise ConfigError(
            f"the baseline {own.baseline} stands on a head, of whose answer it replaces a part: add --head HEAD"
        )
    if own.baseline not in task.on_head and headed:
        raise ConfigError(
            f"--baseline {own.baseline} takes the place of a head: leave out --head and --model"
        )

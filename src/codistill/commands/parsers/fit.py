"""Options of `codistill fit TASK [RECIPE]`."""

import argparse
import sys

from codistill.commands.parsers.paths import named_path
from codistill.commands.parsers.task_options import (
    Asked,
    add_computing,
    check_data,
    describe_task,
    help_text,
    known_flags,
    list_tasks,
    sort_flags,
)
from codistill.commands.parsers.task_text import read_task, task_places
from codistill.errors import ConfigError
from codistill.files.named_config import check_config_name

USAGE = "codistill fit TASK [RECIPE] --encoder E --data LAYOUT:FOLDER --out HEAD [--FIELD VALUE …]"
MORE = """\
RECIPE is a name (the first of --list if none is given), a saved .yaml file, or file.py:NAME. The same command again
resumes. Exit code: 0 finished; 75 stopped by a signal before its end, and saved; 2 something given is wrong.
"""


PARSER = argparse.ArgumentParser(prog="codistill fit", add_help=False, allow_abbrev=False)
add = PARSER.add_argument
add("--data", metavar="LAYOUT:FOLDER", help="what to train on")
add("--out", type=named_path, metavar="HEAD", help="folder of the head")
add("--config", metavar="FILE", help="a saved recipe, in place of RECIPE")
add("--list", action="store_true", help="list recipes and layouts")
add("--print-config", action="store_true", help="print the resolved config as YAML and stop")
add_computing(PARSER)
add("--cache", type=named_path, metavar="DIR", help="where features are kept (HEAD/cache)")
add(
    "--recompute",
    action="store_true",
    help="keep less of blocks that train for the backward pass: less memory, about a third more time",
)


def parse(argv: list[str]) -> Asked:
    """The checked arguments; ends the process after --help.

    Raises:
        ConfigError: for an unknown task, recipe or option, or if an option is missing.
    """
    if not argv or argv[0] in ("-h", "--help", "--list"):
        print(list_tasks(USAGE, [name for name in task_places() if not read_task(name).no_fit], {}))
        sys.exit(0 if argv else 2)
    task, rest = read_task(argv[0]), argv[1:]
    recipe = rest.pop(0) if rest and not rest[0].startswith("-") else ""
    if {"-h", "--help"} & set(rest):
        fields = {"fields": known_flags(task, fitting="", testing=None)}
        usage = USAGE.replace("TASK", task.name)
        print(f"{describe_task(task)}\n\n{help_text(usage, PARSER, fields)}\n\n{MORE}", end="")
        sys.exit(0)
    own, words = PARSER.parse_known_args(rest)
    if own.list:
        print(describe_task(task))
        sys.exit(0)
    if own.config and recipe:
        raise ConfigError(f"{recipe} and --config {own.config} exclude each other: name one recipe")
    recipe = own.config or recipe
    if task.no_fit:
        raise ConfigError(task.no_fit)
    if recipe:
        check_config_name(recipe, task.recipes)
    check_data(own.data, task)
    flags = sort_flags(words, task, PARSER, fitting="", testing=None)
    if not own.print_config and not recipe.endswith((".yaml", ".yml")) and ".py:" not in recipe:
        _check_named(own, flags.features)
    if own.out is None and not own.print_config:
        raise ConfigError("where to? add --out HEAD, the folder of the head")
    return Asked(task=task, recipe=recipe, own=own, flags=flags)


def _check_named(own: argparse.Namespace, features: tuple[str, ...]) -> None:
    if not any(word.split("=")[0] == "--encoder" for word in features):
        raise ConfigError(
            "which features? add --encoder E: a file, a run, an export, a known name, baseline:colour"
        )
    if not own.data:
        raise ConfigError("which data set? add --data LAYOUT:FOLDER")

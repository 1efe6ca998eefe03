"""Options of `codistill evaluate TASK`."""

import argparse
import importlib
import sys
from collections.abc import Mapping
from pathlib import Path

from codistill.commands.parsers.paths import named_path
from codistill.commands.parsers.task_options import (
    READERS,
    Asked,
    add_computing,
    add_other_encoder_option,
    check_data,
    describe_task,
    help_text,
    known_flags,
    list_tasks,
    sort_flags,
)
from codistill.commands.parsers.task_text import TaskText, read_task, task_places
from codistill.errors import ConfigError, unknown_name
from codistill.files.named_config import check_config_name
from codistill.weights.shipped import named_head

USAGE = (
    "codistill evaluate TASK --head HEAD | --encoder E | --model FILE | --baseline NAME  [--OPTION VALUE …]"
)
HEADED = """\
--head scores a fitted head on the data it was fitted on, unless --data says otherwise; --encoder then puts another
encoder under it."""
FITTED = """\
Without one, a head is fitted first, in OUT/head: --encoder E --data LAYOUT:FOLDER --out OUT [--recipe R]
[--fit.FIELD VALUE …] (see `codistill fit TASK --help`). What is scored is opened before that."""
OWN: Mapping[str, tuple[str, str]] = {
    "distillation": (
        "codistill.commands.evaluate_distillation",
        "a student against its teachers' held-out tokens",
    ),
    "zero-shot": (
        "codistill.commands.evaluate_zero_shot",
        "classes of whole images by embeddings of their names, from a teacher's text tower",
    ),
    "zero-shot-segmentation": (
        "codistill.commands.evaluate_zero_shot_segmentation",
        "classes of pixels by patches beside embeddings of names; no head is fitted",
    ),
    "retrieval": (
        "codistill.commands.evaluate_retrieval",
        "captions of images and images of captions, by embeddings of the captions",
    ),
    "mapfree": (
        "codistill.commands.evaluate_mapfree",
        "relocalization as the Map-free benchmark has it: a submission is written and scored",
    ),
}
"""Evaluations that do not belong to a task: module and description."""


def make_parser(task: TaskText) -> argparse.ArgumentParser:
    """Parser of the command's own options; its help shows only those that the task uses."""
    parser = argparse.ArgumentParser(prog="codistill evaluate", add_help=False, allow_abbrev=False)
    fitted = not task.no_fit
    headed = fitted or bool(task.heads)

    def shown(help_text: str, where: bool) -> str:
        return help_text if where else argparse.SUPPRESS

    parser.add_argument(
        "--head",
        type=named_path,
        metavar="HEAD",
        help=shown(
            "of `codistill fit`, a released file of a head, or the name of a model that ships", headed
        ),
    )
    parser.add_argument(
        "--model",
        type=named_path,
        metavar="FILE",
        help=shown("a released file of encoder and head together", headed),
    )
    parser.add_argument(
        "--baseline",
        metavar="NAME",
        help=shown("a method that learns nothing; --list names them", task.baselines != ()),
    )
    add_other_encoder_option(parser, shown=headed)
    parser.add_argument(
        "--data",
        metavar="LAYOUT:FOLDER",
        help="what to score on (what the head was fitted on)" if headed else "what to score on",
    )
    parser.add_argument(
        "--split", help="to score (test where the layout has one, else val; docs/evaluation.md)"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="score N samples, evenly spread (all)")
    parser.add_argument("--partial", action="store_true", help="use a data set of which images are missing")
    parser.add_argument(
        "--pictures", type=int, metavar="N", help=shown("examples in pictures.png (6)", task.draws)
    )
    parser.add_argument(
        "--against", type=named_path, metavar="OUT", help="paired difference to an evaluation's folder"
    )
    parser.add_argument("--score", metavar="NAME", help="whose difference (the task's first)")
    parser.add_argument("--margin", type=float, metavar="X", help="call differences within ± X equal")
    parser.add_argument(
        "--out",
        type=named_path,
        metavar="OUT",
        help="folder of the results (HEAD/evaluation)" if headed else "folder of the results",
    )
    parser.add_argument(
        "--recipe", default="", metavar="R", help=shown("of a head that is fitted first", fitted)
    )
    parser.add_argument(
        "--cache",
        type=named_path,
        metavar="DIR",
        help=shown("where its features are kept (OUT/head/cache)", fitted),
    )
    parser.add_argument("--json", action="store_true", help="print the metrics as JSON instead of a table")
    parser.add_argument("--list", action="store_true", help="list recipes, layouts and baselines")
    parser.add_argument(
        "--print-config", action="store_true", help="print what would be fitted and tested, and stop"
    )
    add_computing(parser, workers=READERS)
    return parser


def _usage(task: TaskText) -> tuple[str, str]:
    """The texts above and below the options in the help."""
    if task.no_fit and not task.heads:
        return (
            f"codistill evaluate {task.name} --encoder E --data LAYOUT:FOLDER --out OUT  [--OPTION VALUE …]",
            "",
        )
    ways = ["--head HEAD", "--encoder E", "--model FILE", "--baseline NAME"]
    if task.no_fit:
        ways.remove("--encoder E")
    if task.baselines == ():
        ways.remove("--baseline NAME")
    more = HEADED if task.no_fit else f"{HEADED} {FITTED}"
    return f"codistill evaluate {task.name} {' | '.join(ways)}  [--OPTION VALUE …]", f"\n\n{more}\n"


def parse(argv: list[str]) -> Asked:
    """The checked arguments; ends the process after --help.

    Raises:
        ConfigError: for an unknown task or option, or if an option is missing or would have no effect.
    """
    if not argv or argv[0] in ("-h", "--help", "--list"):
        print(list_tasks(USAGE, task_places(), {name: about for name, (_, about) in OWN.items()}))
        sys.exit(0 if argv else 2)
    if argv[0] in OWN:
        module = OWN[argv[0]][0].rpartition(".")[2]
        importlib.import_module(f"codistill.commands.parsers.{module}").parse(argv[1:])
        return Asked(task=TaskText(name=argv[0]))
    task, rest = read_task(argv[0]), argv[1:]
    parser = make_parser(task)
    if {"-h", "--help"} & set(rest):
        sections = {
            "features": known_flags(task, fitting=None, testing=None),
            "options": task.testing,
        }
        usage, more = _usage(task)
        print(f"{describe_task(task)}\n\n{help_text(usage, parser, sections)}{more}")
        sys.exit(0)
    own, words = parser.parse_known_args(rest)
    if own.list:
        print(describe_task(task))
        sys.exit(0)
    flags = sort_flags(words, task, parser, fitting="fit.", testing="testing")
    asked = Asked(task=task, recipe=own.recipe, own=own, flags=flags)
    check_data(own.data, task)
    _check_subject(asked)
    if own.head is not None:
        own.head = _folder(own, task)
    if own.margin is not None and own.against is None:
        raise ConfigError("--margin would have no effect without --against OUT")
    if own.score is not None and own.against is None:
        raise ConfigError("--score would have no effect without --against OUT")
    if own.margin is not None and not own.margin > 0:
        raise ConfigError(
            f"--margin must be above 0: differences within ± it count as equal; got {own.margin:g}"
        )
    if own.pictures is not None and own.pictures < 0:
        raise ConfigError(f"--pictures must be 0 (none) or more; got {own.pictures}")
    return asked


def _check_subject(asked: Asked) -> None:
    """Refuse an evaluation without a subject or with two, and options that would have no effect."""
    own, task = asked.own, asked.task
    if task.no_fit and not task.heads and (own.head is not None or own.model is not None):
        raise ConfigError(f"{task.no_fit}; leave out --{'head' if own.model is None else 'model'}")
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
        anew = (
            ", or fit a head anew with --encoder E --data … --out OUT and no --head" if task.fitting else ""
        )
        raise ConfigError(
            f"{', '.join(idle)} would have no effect: nothing is fitted here. Leave it out{anew}."
        )
    if own.other_encoder and own.head is None and own.model is None:
        raise ConfigError("--other-encoder would have no effect: no head is named. Leave it out.")
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


def _folder(own: argparse.Namespace, task: TaskText) -> Path:
    """The folder of the head, also if it is given by a model's name; results are never written into a shipped model."""
    head = named_head(own.head, task.heads or task.name)
    if head != own.head and own.out is None and not own.print_config:
        raise ConfigError(f"--head {own.head} is a model that ships, which keeps no results: add --out OUT")
    return head


def _check_baseline(own: argparse.Namespace, task: TaskText) -> None:
    """Refuse a baseline that the task does not have, or that does not fit the presence or absence of a head."""
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

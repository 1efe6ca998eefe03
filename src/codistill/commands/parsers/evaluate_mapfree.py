"""Options of `codistill evaluate mapfree`; those of pose solving are as in `evaluate relocalization`."""

import argparse
import sys

from codistill.commands.parsers.paths import named_path
from codistill.commands.parsers.task_options import (
    Asked,
    add_computing,
    add_other_encoder_option,
    help_text,
    known_flags,
    sort_flags,
)
from codistill.commands.parsers.task_text import read_task
from codistill.errors import ConfigError, unknown_name
from codistill.weights.shipped import named_head

USAGE = (
    "codistill evaluate mapfree --data ROOT --head HEAD | --model FILE | --baseline NAME | --submission ZIP --out OUT  "
    "[--OPTION VALUE …]"
)


PARSER = argparse.ArgumentParser(prog="codistill evaluate mapfree", add_help=False, allow_abbrev=False)
add = PARSER.add_argument
add("--data", type=named_path, metavar="ROOT", help="the data set's folder: ROOT/SPLIT/sXXXXX/…")
add(
    "--head",
    type=named_path,
    metavar="HEAD",
    help="of `codistill fit two-view`, or the name of a model that ships",
)
add("--model", type=named_path, metavar="FILE", help="a released MASt3R, DUSt3R or DUNE-MASt3R file")
add("--baseline", metavar="NAME", help="what needs no head: none, median, sift, loftr")
add("--submission", type=named_path, metavar="ZIP", help="poses that are there already")
add_other_encoder_option(PARSER)
add("--split", default="val", help="(val)")
add("--limit", type=int, metavar="N", help="locate the first N queries; the others count as failures (all)")
add("--out", type=named_path, metavar="OUT", help="folder of the results")
add_computing(PARSER, workers="")


def parse(argv: list[str]) -> Asked:
    """The checked arguments; ends the process after --help.

    Raises:
        ConfigError: if an option is missing or would have no effect.
    """
    task = read_task("relocalization")
    if {"-h", "--help"} & set(argv):
        sections = {"features": known_flags(task, fitting=None, testing=None), "options": task.testing}
        print(help_text(USAGE, PARSER, sections))
        sys.exit(0)
    own, words = PARSER.parse_known_args(argv)
    flags = sort_flags(words, task, PARSER, fitting=None, testing="testing")
    chosen = [n for n in ("head", "model", "baseline", "submission") if getattr(own, n) is not None]
    if len(chosen) != 1:
        raise ConfigError(
            f"name one of --head, --model, --baseline and --submission; got {' and '.join(chosen) or 'none'}"
        )
    if own.baseline is not None and task.baselines and own.baseline not in task.baselines:
        raise ConfigError(unknown_name("baseline", own.baseline, task.baselines))
    idle = [word for word in (*flags.features, *flags.testing) if word.startswith("--")]
    idle += ["--limit"] if own.limit is not None else []
    if own.submission is not None and idle:
        raise ConfigError(
            f"{' and '.join(idle)} would change nothing: a submission has its poses already; leave it out"
        )
    if own.data is None or own.out is None:
        raise ConfigError("where from, where to? add --data ROOT --out OUT")
    if own.limit is not None and own.limit < 1:
        raise ConfigError(f"--limit must be 1 or more; got {own.limit}")
    if own.head is not None:
        own.head = named_head(own.head, "two-view")
    return Asked(task=task, own=own, flags=flags)

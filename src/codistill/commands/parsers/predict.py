"""Options of `codistill predict TASK IMAGE…`; `segment`, `depth`, `people` and `normals` are short for it."""

import argparse
import sys

from codistill.commands.parsers.paths import named_path
from codistill.commands.parsers.task_options import (
    Asked,
    add_computing,
    add_other_encoder_option,
    choose_head,
    help_text,
    known_flags,
    sort_flags,
)
from codistill.commands.parsers.task_text import added_names, read_task, task_places
from codistill.errors import ConfigError

USAGE = "codistill predict TASK IMAGE… [--head HEAD] --out DIR [--OPTION VALUE …]"
IMAGES_HELP = "image files, folders (with all that is in them), or patterns such as 'photos/*.jpg'"


PARSER = argparse.ArgumentParser(prog="codistill predict", add_help=False, allow_abbrev=False)
add = PARSER.add_argument
add(
    "--head",
    type=named_path,
    metavar="HEAD",
    help="of `codistill fit`, or a released file of a head; or the name of a model that ships (the first that has one)",
)
add("--model", type=named_path, metavar="FILE", help="a released file of encoder and head together")
add_other_encoder_option(PARSER)
add("--out", type=named_path, metavar="DIR", help="folder of the results")
add("--json", action="store_true", help="one JSON object a line and image, on standard output")
add_computing(PARSER, workers="")


def _able() -> list[str]:
    """The tasks that predict something for single images."""
    return [name for name in task_places() if read_task(name).writes]


def parse(argv: list[str]) -> Asked:
    """The checked arguments, with images in `own.images`; ends the process after --help.

    Raises:
        ConfigError: for an unknown task or option, or if an option is missing.
    """
    if not argv or argv[0] in ("-h", "--help", "--list"):
        lines = [f"  {name}: {read_task(name).writes}" for name in _able()]
        lines += [f"  {name}: of an installed package" for name in added_names()]
        print("\n".join([f"usage: {USAGE}", "", *lines]))
        sys.exit(0 if argv else 2)
    task, rest = read_task(argv[0]), argv[1:]
    if task.output is not None and not task.writes:
        of_pairs = "two-view" in (task.name, task.heads)
        other = ". For pictures of one place: codistill reconstruct IMAGE IMAGE … --out FILE.glb" * of_pairs
        raise ConfigError(
            f"{task.name} has no predictions of single images; those that have: {', '.join(_able())}{other}"
        )
    if {"-h", "--help"} & set(rest):
        sections = {"features": known_flags(task, fitting=None, testing=None), "options": task.output}
        usage = USAGE.replace("TASK", task.name)
        print(f"{help_text(usage, PARSER, sections)}\n\nIMAGE: {IMAGES_HELP}.\nWrites {task.writes}.")
        sys.exit(0)
    own, words = PARSER.parse_known_args(rest)
    images = []
    while words and not words[0].startswith("--"):
        images.append(words.pop(0))
    flags = sort_flags(words, task, PARSER, fitting=None, testing="output")
    if not images:
        raise ConfigError(f"which images? They come right after the task: {USAGE}")
    if own.out is None:
        raise ConfigError("where to? add --out DIR")
    choose_head(own, task.name)
    own.images = images
    return Asked(task=task, own=own, flags=flags)

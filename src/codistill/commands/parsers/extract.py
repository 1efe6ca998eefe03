"""Options of `codistill extract SOURCE`."""

import argparse
import sys

from codistill.commands.parsers.paths import named_path
from codistill.commands.parsers.task_options import Asked, add_computing, help_text, known_flags, sort_flags
from codistill.commands.parsers.task_text import TaskText
from codistill.errors import ConfigError
from codistill.files.dataclass_fields import fields_of

USAGE = "codistill extract SOURCE --encoder E --out DIR [--OPTION VALUE …]"
MORE = """\
SOURCE is a folder, a text list, a Parquet manifest (`codistill index`) or a folder of tar shards.
Read the result: from codistill.tasks.extraction.read import open_features; open_features(DIR)[0] is a Tokens.
Several processes share the work: torchrun --nproc-per-node 8 -m codistill extract ..., or --part 0/4 on one machine,
--part 1/4 on the next, with one --out. Killed at any moment, the same command resumes.
"""
EXTRACTION = "codistill.tasks.extraction.config:Extraction"


def parse(argv: list[str]) -> Asked:
    """The checked arguments; ends the process after --help.

    Raises:
        ConfigError: for an unknown option, or if one is missing.
    """
    parser = argparse.ArgumentParser(prog="codistill extract", add_help=False, allow_abbrev=False)
    parser.add_argument("--out", type=named_path, metavar="DIR", help="folder of the features")
    parser.add_argument("--part", metavar="I/N", help="this process's part of the files (torchrun's rank)")
    parser.add_argument("--dry-run", action="store_true", help="say size and time, and stop")
    add_computing(parser)
    task = TaskText(name="extract", testing=fields_of(EXTRACTION))
    if {"-h", "--help"} & set(argv):
        fields = {"fields": known_flags(task, fitting=None, testing="testing")}
        print(f"{help_text(USAGE, parser, fields)}\n\n{MORE}", end="")
        sys.exit(0)
    if not argv or argv[0].startswith("-"):
        raise ConfigError(f"which images? They come right after the command: {USAGE}")
    own, words = parser.parse_known_args(argv[1:])
    own.source = argv[0]
    flags = sort_flags(words, task, parser, fitting=None, testing="testing")
    if not any(word.split("=")[0] == "--encoder" for word in flags.features):
        raise ConfigError("which features? add --encoder E: a file, a run, an export, a known name")
    if own.out is None:
        raise ConfigError("where to? add --out DIR")
    return Asked(task=task, own=own, flags=flags)

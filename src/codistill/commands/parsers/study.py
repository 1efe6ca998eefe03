"""Options of `codistill study`."""

import argparse
from importlib.resources import files

from codistill.commands.parsers.paths import named_path
from codistill.errors import ConfigError
from codistill.files.named_config import check_config_name

EPILOG = """\
STUDY is a shipped study (--list), a YAML file, or file.py:NAME; docs/study.md says what is in one. Everything in it is
checked before anything runs. The same `study run` again does what is left; several of them, also on other machines, may
share DIR. Exit code of `study run`: 0 everything is finished; 1 some cells failed, and the others are finished; 75
stopped by a signal, and saved; 2 something given is wrong, and nothing was run.
"""

PARSER = argparse.ArgumentParser(
    prog="codistill study",
    description="Rows x seeds x evaluations, run cell by cell, and tables of what came out.",
    epilog=EPILOG,
    formatter_class=argparse.RawDescriptionHelpFormatter,
)
PARSER.add_argument("--list", action="store_true", help="list the shipped studies")
commands = PARSER.add_subparsers(dest="command")

run = commands.add_parser("run", help="do what is left of a study")
run.add_argument("study", metavar="STUDY")
run.add_argument("--out", type=named_path, required=True, metavar="DIR", help="folder of the study")
run.add_argument(
    "--set", action="append", default=[], metavar="NAME=VALUE", help="a variable of the study; repeatable"
)
run.add_argument("--only", action="append", default=[], metavar="ROW", help="this row; repeatable (all)")
run.add_argument(
    "--seed",
    action="append",
    type=int,
    default=[],
    metavar="N",
    help="this one of the seeds; repeatable (all)",
)
run.add_argument("--jobs", type=int, default=1, metavar="N", help="cells at a time (1)")
run.add_argument(
    "--dry-run", action="store_true", help="list what is left, with the hours expected, and stop"
)
run.add_argument(
    "--gflops",
    type=float,
    metavar="X",
    help="for --dry-run: 1e9 operations per second that a training reaches",
)
run.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"), help="(auto)")
run.add_argument("--workers", type=int, metavar="N", help="loader processes of evaluations (the CPUs)")
run.add_argument(
    "--stale-after",
    type=float,
    default=120.0,
    metavar="S",
    help="take cells over from another machine that was silent for so many seconds (120)",
)
run.add_argument(
    "--target-cache",
    type=named_path,
    metavar="DIR",
    help="keep the teachers' tokens there, for all trainings that see the same images",
)
run.add_argument("--keep-features", action="store_true", help="keep the features that heads were fitted on")

tables = commands.add_parser("tables", help="Markdown, LaTeX and HTML of what is finished")
tables.add_argument("folder", type=named_path, metavar="DIR", help="folder of the study")
tables.add_argument("--out", type=named_path, metavar="DIR", help="where the tables go (DIR/tables)")

show = commands.add_parser("show", help="what is finished, running, failed and left")
show.add_argument("folder", type=named_path, metavar="DIR", help="folder of the study")
show.add_argument("--follow", action="store_true", help="again every few seconds, until everything is done")


def study_names() -> tuple[str, ...]:
    """Names of the shipped studies."""
    folder = files("codistill").joinpath("study", "shipped")
    return tuple(sorted(p.name.removesuffix(".yaml") for p in folder.iterdir() if p.name.endswith(".yaml")))


def parse(argv: list[str]) -> argparse.Namespace:
    """The arguments, checked; argparse may end the process (--help, errors).

    Raises:
        ConfigError: for an unknown study, or options that contradict each other.
    """
    arguments = PARSER.parse_args(argv)
    if arguments.list:
        return arguments
    if arguments.command is None:
        raise ConfigError("what is to be done? codistill study run|tables|show, or --list")
    if arguments.command != "run":
        return arguments
    check_config_name(arguments.study, study_names(), "study")
    if arguments.jobs < 1:
        raise ConfigError(f"--jobs must be 1 or more; got {arguments.jobs}")
    if arguments.workers is not None and arguments.workers < 0:
        raise ConfigError(f"--workers must be 0 or more; got {arguments.workers}")
    if not arguments.stale_after > 0:
        raise ConfigError(f"--stale-after must be above 0 seconds; got {arguments.stale_after:g}")
    if arguments.gflops is not None and not arguments.dry_run:
        raise ConfigError("--gflops would have no effect without --dry-run")
    if arguments.gflops is not None and not arguments.gflops > 0:
        raise ConfigError(f"--gflops must be above 0; got {arguments.gflops:g}")
    return arguments

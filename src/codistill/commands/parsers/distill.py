"""Options of `codistill distill`."""

import argparse
from pathlib import Path

from codistill.commands.parsers.recipe_options import check_overrides, check_recipe_name
from codistill.errors import ConfigError

EPILOG = """\
The recipe comes first; every field of it can be overridden: --engine.total-steps 100, --student.size vit_small,
--distill.sharing.mode none. `codistill distill RECIPE --help-fields` lists them all.
With several processes: torchrun --nproc-per-node 8 -m codistill distill RECIPE --out RUN.
Exit code: 0 finished; 75 stopped before its end by SIGTERM, SIGHUP, Ctrl-C or --engine.stop-after, and saved: the
same command (without --engine.stop-after) resumes; 2 something given is wrong.
"""


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="codistill distill",
        description="Train a student from a recipe; the same command again resumes the run.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # --engine, --sources.0.path and the like are fields
    )
    parser.add_argument(
        "recipe", nargs="?", metavar="RECIPE", help="known name, saved .yaml, or file.py:NAME"
    )
    parser.add_argument("--out", type=Path, metavar="RUN", help="folder of the run")
    parser.add_argument(
        "--teacher",
        action="append",
        metavar="NAME,E[,domain=D][,kinds=cls+patch][,weight=W]",
        help="a teacher, in place of the recipe's; repeatable",
    )
    parser.add_argument(
        "--source",
        action="append",
        metavar="NAME,DOMAIN,PATH[,root=DIR]",
        help="images, in place of the recipe's; repeatable",
    )
    parser.add_argument(
        "--held-out",
        action="append",
        metavar="NAME,DOMAIN,PATH[,root=DIR]",
        help="validation images, likewise; repeatable",
    )
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"), help="(auto)")
    parser.add_argument("--list", action="store_true", help="list the recipes")
    parser.add_argument(
        "--print-config", action="store_true", help="print the resolved recipe as YAML and stop"
    )
    parser.add_argument("--help-fields", action="store_true", help="list every field that can be overridden")
    return parser


def parse(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """The arguments, checked, and the recipe's fields; argparse may end the process (--help, errors).

    Raises:
        ConfigError: for an unknown recipe or option, or where the recipe or --out is not named.
    """
    arguments, overrides = make_parser().parse_known_args(argv)
    if arguments.list:
        return arguments, overrides
    if not arguments.help_fields:
        check_overrides(overrides)
    if not arguments.recipe:
        raise ConfigError("which recipe? `codistill distill --list` shows the known ones")
    check_recipe_name(arguments.recipe)
    if arguments.out is None and not (arguments.print_config or arguments.help_fields):
        raise ConfigError("where to? add --out RUN, the folder of the run")
    return arguments, overrides

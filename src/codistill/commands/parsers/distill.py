"""Options of `codistill distill`."""

import argparse

from codistill.commands.parsers.paths import named_path
from codistill.commands.parsers.recipe_options import check_overrides, check_recipe_name
from codistill.errors import ConfigError

EPILOG = """\
The recipe comes first; every field of it can be overridden: --engine.total-steps 100, --student.size vit_small,
--distill.sharing.mode none. `codistill distill RECIPE --help-fields` lists them all.
With several processes: torchrun --nproc-per-node 8 -m codistill distill RECIPE --out RUN.
Exit code: 0 finished; 75 stopped before its end by SIGTERM, SIGHUP, Ctrl-C or --engine.stop-after, and saved: the
same command (without --engine.stop-after) resumes; 2 something given is wrong.
"""


PARSER = argparse.ArgumentParser(
    prog="codistill distill",
    description="Train a student from a recipe; the same command again resumes the run.",
    epilog=EPILOG,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,  # --engine, --sources.0.path and the like are fields of the recipe
)
add = PARSER.add_argument
add("recipe", nargs="?", metavar="RECIPE", help="known name, saved .yaml, or file.py:NAME")
add("--out", type=named_path, metavar="RUN", help="folder of the run")
add(
    "--student",
    metavar="E",
    help="in place of the recipe's: vit_small …, or timm:NAME, a convolutional network",
)
add(
    "--teacher",
    action="append",
    metavar="NAME,E[,domain=D][,kinds=cls+patch][,weight=W]",
    help="a teacher, in place of the recipe's; repeatable",
)
add(
    "--source",
    action="append",
    metavar="NAME,DOMAIN,PATH[,root=DIR]",
    help="images, in place of the recipe's; repeatable",
)
add(
    "--held-out",
    action="append",
    metavar="NAME,DOMAIN,PATH[,root=DIR]",
    help="validation images, likewise; repeatable",
)
add(
    "--target-cache",
    type=named_path,
    metavar="DIR",
    help="keep the teachers' tokens there, and read those of the same images: for ablations",
)
add("--device", default="auto", choices=("auto", "cpu", "cuda"), help="(auto)")
add("--list", action="store_true", help="list the recipes")
add("--print-config", action="store_true", help="print the resolved recipe as YAML and stop")
add("--help-fields", action="store_true", help="list every field that can be overridden")


def parse(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """The checked arguments, and the recipe's fields; argparse may end the process (--help, errors).

    Raises:
        ConfigError: for an unknown recipe or option, or if the recipe or --out is missing.
    """
    arguments, overrides = PARSER.parse_known_args(argv)
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

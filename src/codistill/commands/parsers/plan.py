"""`codistill plan RECIPE --gpus N`: operations, hours, loader cores and cost of a recipe, with the arithmetic shown."""

import argparse

from codistill.commands.parsers.recipe_options import check_overrides, check_recipe_name
from codistill.files.literals import literal

GPUS: tuple[str, ...] = literal("codistill.recipes.plan", "GPUS")
EPILOG = """\
RECIPE comes first; every field can be overridden, as in `codistill distill`. Nothing is loaded or downloaded.
Better than the assumed utilization is a measured rate: the operations of a step over its time, as
`codistill bench step RECIPE --device cuda` prints them, as --tflops.
"""


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="codistill plan",
        usage="codistill plan RECIPE [options] [any field of the recipe]",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("recipe", metavar="RECIPE", help="known name, saved .yaml, or file.py:NAME")
    parser.add_argument("--gpus", type=int, default=8, metavar="N", help="how many (8)")
    parser.add_argument("--gpu", default="h100", choices=tuple(GPUS), help="which (h100)")
    parser.add_argument(
        "--utilization", type=float, default=0.29, help="part of the peak that is reached (0.29)"
    )
    parser.add_argument(
        "--tflops", type=float, help="operations per second reached, in place of the two above"
    )
    parser.add_argument("--network", type=float, help="GB/s that a GPU sends, in place of the usual")
    parser.add_argument("--price", type=float, help="dollars per GPU and hour, in place of a round one")
    parser.add_argument(
        "--loader-rate", type=float, default=150, help="images/s of a core: bench loader (150)"
    )
    parser.add_argument(
        "--teacher", action="append", metavar="NAME,E", help="in place of the recipe's; repeatable"
    )
    parser.set_defaults(source=None, held_out=None, help_fields=False)
    return parser


def parse(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """The arguments, checked, and the recipe's fields; argparse may end the process (--help, errors).

    Raises:
        ConfigError: for an unknown recipe or option.
    """
    arguments, overrides = make_parser().parse_known_args(argv)
    check_overrides(overrides)
    check_recipe_name(arguments.recipe)
    return arguments, overrides

"""`codistill plan RECIPE --gpus N`: operations, hours, loader cores and cost of a recipe, with the arithmetic shown."""

import argparse

from codistill.commands.parsers.recipe_options import check_overrides, check_recipe_name
from codistill.errors import ConfigError
from codistill.files.literals import literal

GPUS: tuple[str, ...] = literal("codistill.recipes.plan", "GPUS")
UTILIZATION = 0.29
EPILOG = """\
RECIPE comes first; every field can be overridden, as in `codistill distill`. Nothing is downloaded.
Better than the assumed utilization is a measured rate: the operations of a step over its time, as
`codistill bench step RECIPE --device cuda` prints them, as --tflops.
"""


PARSER = argparse.ArgumentParser(
    prog="codistill plan",
    usage="codistill plan RECIPE [options] [any field of the recipe]",
    description=__doc__,
    epilog=EPILOG,
    formatter_class=argparse.RawDescriptionHelpFormatter,
)
add = PARSER.add_argument
add("recipe", metavar="RECIPE", help="known name, saved .yaml, or file.py:NAME")
add("--gpus", type=int, default=8, metavar="N", help="how many (8)")
add("--gpu", default="h100", choices=tuple(GPUS), help="which (h100)")
add("--utilization", type=float, help=f"part of the peak that is reached ({UTILIZATION})")
add("--tflops", type=float, help="operations per second reached, in place of a part of the peak")
add("--network", type=float, help="GB/s that a GPU sends, in place of the usual")
add("--price", type=float, help="dollars per GPU and hour, in place of a round one")
add("--loader-rate", type=float, default=150, help="images/s of a core: bench loader (150)")
add(
    "--student",
    metavar="E",
    help="in place of the recipe's: vit_small …, or timm:NAME, a convolutional network",
)
add("--teacher", action="append", metavar="NAME,E", help="in place of the recipe's; repeatable")
add("--json", action="store_true", help="print JSON instead of lines")
PARSER.set_defaults(source=None, held_out=None, help_fields=False)


def parse(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """The arguments, checked, and the recipe's fields; argparse may end the process (--help, errors).

    Raises:
        ConfigError: for an unknown recipe or option.
    """
    arguments, overrides = PARSER.parse_known_args(argv)
    if arguments.tflops is not None and arguments.utilization is not None:
        raise ConfigError("--utilization would have no effect: --tflops says what is reached")
    arguments.utilization = UTILIZATION if arguments.utilization is None else arguments.utilization
    check_overrides(overrides)
    check_recipe_name(arguments.recipe)
    return arguments, overrides

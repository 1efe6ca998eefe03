"""`codistill bench step [RECIPE]`: the time of a distillation step, and the floor that its products set."""

import argparse

from codistill.commands.parsers.bench_options import add_device, add_json
from codistill.commands.parsers.recipe_options import check_overrides, check_recipe_name

EPILOG = """\
RECIPE, if any, comes first: a known name, a saved .yaml or file.py:NAME (bench).
Every field of the recipe can be overridden, as in `codistill distill`: --loader.batch-size 24, --engine.compile,
--student.size vit_base, --engine.precision bf16, --engine.activation-checkpointing.
The floor is the step's operations (PyTorch's FlopCounterMode) at the rate of its own matrix products, timed alone; and,
as fair on a machine that others use, with all of them in a row: a short call finds idle moments that a step does not.
Steps are measured in turns, by the clock and by processor time, which other work lengthens less.
"""


PARSER = argparse.ArgumentParser(
    prog="codistill bench step",
    usage="codistill bench step [RECIPE] [options] [any field of the recipe]",
    description=__doc__,
    epilog=EPILOG,
    formatter_class=argparse.RawDescriptionHelpFormatter,
)
add = PARSER.add_argument
add("--teacher", action="append", metavar="NAME,E[,domain=D]", help="in place of the recipe's; repeatable")
add_device(PARSER, threads=2)
add("--rounds", type=int, default=5, help="measurements, the best of which counts (5)")
add(
    "--compare",
    default="none",
    choices=("none", "generic", "full", "int8", "blas", "nothing"),
    help="a second step, measured in turns with the first: another sharing mode, int8 teachers, or linear "
    "layers by PyTorch's BLAS (none)",
)
add(
    "--against",
    default="nothing",
    choices=("nothing", "published-like"),
    help="a third step, in turns as well: all in fp32, every teacher on every image, every logged number read back, "
    "as published code does; a plain module of codistill's own",
)
add_json(PARSER)
PARSER.set_defaults(source=None, held_out=None, help_fields=False)


def parse(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """The arguments, checked, and the recipe's fields; argparse may end the process (--help, errors).

    Raises:
        ConfigError: for an unknown recipe or option.
    """
    # argparse does not know the recipe's fields, and would take the value of one as the recipe's name.
    named = bool(argv) and not argv[0].startswith("-")
    arguments, overrides = PARSER.parse_known_args(argv[named:])
    arguments.recipe = argv[0] if named else "bench"
    check_overrides(overrides)
    check_recipe_name(arguments.recipe)
    return arguments, overrides

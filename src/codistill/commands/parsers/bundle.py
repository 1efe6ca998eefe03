"""Options of `codistill bundle`."""

import argparse

from codistill.commands.parsers.paths import named_path

PARSER = argparse.ArgumentParser(
    prog="codistill bundle",
    description="A model to give away: an encoder in half precision, its card, and heads fitted on it.",
    epilog="First the encoder: codistill bundle RUN/export --out models/NAME --about TEXT. Then fit heads on that "
    "folder (--encoder models/NAME) and add them: codistill bundle models/NAME --head HEAD --head HEAD2=M.json. With "
    "CODISTILL_MODELS=models, NAME is known to every command.",
)
add = PARSER.add_argument
add(
    "encoder",
    type=named_path,
    metavar="E",
    help="an export, run, weights file or name; with --head: the model's folder",
)
add("--out", type=named_path, metavar="DIR", help="folder to make; its name is the model's")
add("--about", metavar="TEXT", help="the card's text: data, recipe, what it cannot do; @FILE reads it")
add("--licence", metavar="TEXT", help="of the weights, if not that of E")
add("--size", type=int, metavar="PIXELS", help="of the card's computed picture (112)")
add("--no-projectors", action="store_true", help="leave a student's projectors out: the encoder alone")
add(
    "--head",
    action="append",
    default=[],
    metavar="HEAD[=METRICS]",
    help="a fitted head to add, and the metrics.json of its evaluation (HEAD/evaluation/metrics.json)",
)

parse = PARSER.parse_args

"""Options of `codistill evaluate distillation`."""

import argparse

from codistill.commands.parsers.paths import named_path

PARSER = argparse.ArgumentParser(
    prog="codistill evaluate distillation",
    description="Cosine similarity of predicted and true patch tokens on held-out images, with intervals.",
)
add = PARSER.add_argument
add("--encoder", action="append", required=True, metavar="RUN", help="a run of `distill`; repeatable")
add("--teacher", metavar="NAME", help="which teacher (the first run's first one)")
add("--ridge-steps", type=int, default=40, help="training batches the ridge regression sees; 0 for none (40)")
add(
    "--groups",
    action="append",
    default=[],
    metavar="SOURCE=REGEX",
    help="images of a held-out source that belong together (a camera, a scene): what REGEX matches in their names; "
    "^ for all of them. Intervals resample groups (the recipe's own rule, or each image alone); repeatable",
)
add("--out", type=named_path, metavar="JSON", help="metrics file (RUN/distillation.json)")

parse = PARSER.parse_args

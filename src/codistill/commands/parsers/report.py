"""Options of `codistill report`."""

import argparse

from codistill.commands.parsers.paths import named_path

PARSER = argparse.ArgumentParser(
    prog="codistill report", description="One HTML page about a run, or about heads of one task side by side."
)
add = PARSER.add_argument
add("run", type=named_path, nargs="+", metavar="RUN", help="a run of `distill`, or heads of `fit`")
add("--out", type=named_path, metavar="HTML", help="(RUN/report.html)")
add("--curves", type=named_path, metavar="PNG", help="of heads (curves.png beside the page)")

parse = PARSER.parse_args

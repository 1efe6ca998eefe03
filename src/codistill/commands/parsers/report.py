"""Options of `codistill report`."""

import argparse
from pathlib import Path

PARSER = argparse.ArgumentParser(
    prog="codistill report", description="One HTML page about a run, or about heads of one task side by side."
)
add = PARSER.add_argument
add("run", type=Path, nargs="+", metavar="RUN", help="a run of `distill`, or heads of `fit`")
add("--out", type=Path, metavar="HTML", help="(RUN/report.html)")
add("--curves", type=Path, metavar="PNG", help="of heads (curves.png beside the page)")

parse = PARSER.parse_args

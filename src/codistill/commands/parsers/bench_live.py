"""Options of `codistill bench live`."""

import argparse

from codistill.commands.parsers.bench_options import add_json

PARSER = argparse.ArgumentParser(
    prog="codistill bench live",
    description="Frames a second and latency of the live page's server, in a process of its own: one tab with "
    "segmentation and depth, one with every head, one with pairs of views if a head takes them, then many tabs, two of "
    "which send faster than they are answered.",
)
add = PARSER.add_argument
add("--perception", metavar="NAME|YAML", required=True, help="as for `codistill serve`")
add("--tabs", type=int, default=20, metavar="N", help="at one time (%(default)s)")
add("--seconds", type=float, default=120.0, help="of the load of many tabs (%(default)s)")
add("--alone", type=float, default=20.0, metavar="SECONDS", help="of each load of one tab (%(default)s)")
add("--edge", type=int, default=224, metavar="PX", help="longer side of the frames (%(default)s)")
add("--device", default="auto", choices=("auto", "cpu", "cuda"), help="(auto)")
add_json(PARSER)

parse = PARSER.parse_args

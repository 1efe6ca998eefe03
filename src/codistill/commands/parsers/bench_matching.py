"""`codistill bench matching`: fast reciprocal against full mutual matching of two dense descriptor maps.

The maps are made, so that the truth is known everywhere: unit descriptors of points of a textured plane, seen a second
time through a homography (turned, nearer, tilted), with noise on both.
"""

import argparse

from codistill.commands.parsers.bench_options import add_device, add_json

PARSER = argparse.ArgumentParser(prog="codistill bench matching", description=__doc__)
add = PARSER.add_argument
add("--size", default="384x512", metavar="ROWSxCOLUMNS", help="of the maps (384x512)")
add("--channels", type=int, default=24, help="of the descriptors (24)")
add("--noise", type=float, default=0.3, help="length of each descriptor's noise (0.3)")
add("--fast-only", action="store_true", help="leave the full mutual matcher out")
add_device(PARSER, threads=1)
add_json(PARSER)

parse = PARSER.parse_args

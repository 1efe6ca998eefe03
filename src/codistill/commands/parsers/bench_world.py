"""`codistill bench world`: pictures per second of the embedded world, and the processor time that one takes."""

import argparse

from codistill.commands.parsers.bench_options import add_json
from codistill.files.literals import literal

DOMAINS: tuple[str, ...] = literal("codistill.world.identity", "DOMAINS")


PARSER = argparse.ArgumentParser(prog="codistill bench world", description=__doc__)
add = PARSER.add_argument
add("--images", type=int, default=24, help="pictures per domain (24)")
add("--size", type=int, default=224)
add("--domains", default=",".join(DOMAINS))
add("--workers", type=int, default=0, help="processes; 0: one per core")
add_json(PARSER)

parse = PARSER.parse_args

"""`codistill bench world`: pictures per second of the embedded world, and the processor time that one takes."""

import argparse

from codistill.commands.parsers.bench_options import add_json
from codistill.files.literals import literal

DOMAINS: tuple[str, ...] = literal("codistill.world.identity", "DOMAINS")


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="codistill bench world", description=__doc__)
    parser.add_argument("--images", type=int, default=24, help="pictures per domain (24)")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--domains", default=",".join(DOMAINS))
    parser.add_argument("--workers", type=int, default=0, help="processes; 0: one per core")
    add_json(parser)
    return parser


def parse(argv: list[str]) -> argparse.Namespace:
    return make_parser().parse_args(argv)

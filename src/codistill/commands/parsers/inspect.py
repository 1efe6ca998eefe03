"""Options of `codistill inspect`."""

import argparse


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="codistill inspect",
        description="What is in this checkpoint, run, export, head, manifest, shard, world or folder of features. "
        "Without WHAT: known weights.",
    )
    parser.add_argument("what", nargs="?", metavar="WHAT", help="a file, a folder, or a known name")
    parser.add_argument("--keys", action="store_true", help="list every tensor with its shape and dtype")
    parser.add_argument(
        "--hash", action="store_true", help="SHA-256 of the file, compared with the published ones"
    )
    parser.add_argument("--num-heads", type=int, metavar="N", help="heads of a file that does not say them")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    return parser


def parse(argv: list[str]) -> argparse.Namespace:
    return make_parser().parse_args(argv)

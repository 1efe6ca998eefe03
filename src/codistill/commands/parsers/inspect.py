"""Options of `codistill inspect`."""

import argparse

PARSER = argparse.ArgumentParser(
    prog="codistill inspect",
    description="What is in this checkpoint, run, export, exported file, head, manifest, shard, world or folder of "
    "features. "
    "Without WHAT: known weights.",
)
add = PARSER.add_argument
add("what", nargs="?", metavar="WHAT", help="a file, a folder, or a known name")
add("--keys", action="store_true", help="list every tensor with its shape and dtype")
add("--hash", action="store_true", help="SHA-256 of the file, compared with the published ones")
add("--num-heads", type=int, metavar="N", help="heads of a file that does not say them")
add("--json", action="store_true", help="print JSON instead of tables")

parse = PARSER.parse_args

"""`codistill extract SOURCE --encoder E --out DIR`: dense features of any image source; the same command goes on."""

import argparse
from pathlib import Path

from codistill.files.literals import literal

DTYPES: tuple[str, ...] = literal("codistill.tasks.extraction.layout", "DTYPES")
EPILOG = """\
SOURCE is a folder, a text list, a Parquet manifest (`codistill index`) or a folder of tar shards.
Read the result: from codistill.tasks.extraction.read import open_features; open_features(DIR)[0] is a Tokens.
Several processes share the work: torchrun --nproc-per-node 8 -m codistill extract ..., or --part 0/4 on one machine,
--part 1/4 on the next, with one --out. Killed at any moment, the same command goes on.
"""


def make_parser() -> argparse.ArgumentParser:
    """The command's parser."""
    parser = argparse.ArgumentParser(
        prog="codistill extract",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="SOURCE")
    parser.add_argument("--encoder", required=True, metavar="E", help="what load_encoder accepts")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--size", type=int, default=448, help="square side in pixels, rounded to patches (448)"
    )
    parser.add_argument(
        "--fit", default="crop", choices=("crop", "stretch"), help="central square, or all of it (crop)"
    )
    parser.add_argument(
        "--kinds", default="patch+cls", help="patch, cls or patch+cls (as far as there are any)"
    )
    parser.add_argument(
        "--blocks", type=int, nargs="+", default=[], metavar="N", help="of these blocks instead"
    )
    parser.add_argument("--no-norm", action="store_true", help="tokens before the final norm")
    parser.add_argument(
        "--teacher", default="", metavar="NAME", help="a student's projection onto this teacher"
    )
    parser.add_argument("--dtype", default="fp16", choices=tuple(DTYPES), help="of the files (fp16)")
    parser.add_argument(
        "--precision", default="auto", choices=("auto", "fp32", "bf16"), help="of the encoder"
    )
    parser.add_argument("--batch-size", type=int, default=16, help="(16)")
    parser.add_argument("--shard-images", type=int, metavar="N", help="images of a file (about 1 GiB)")
    parser.add_argument("--workers", type=int, help="loader processes (the CPUs, at most 16)")
    parser.add_argument("--limit", type=int, metavar="N", help="the first N images only")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--part", metavar="I/N", help="this process's part of the files (torchrun's rank)")
    parser.add_argument("--dry-run", action="store_true", help="say size and time, and stop")
    return parser


def parse(argv: list[str]) -> argparse.Namespace:
    """The arguments; ends the process where argparse has something to say."""
    return make_parser().parse_args(argv)

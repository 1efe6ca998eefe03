"""Options of several benchmarks: device, threads, output file."""

import argparse

from codistill.commands.parsers.paths import named_path


def add_device(parser: argparse.ArgumentParser, *, threads: int) -> None:
    """Add `--device` and `--threads`; `threads` is the default."""
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"), help="(auto)")
    parser.add_argument("--threads", type=int, default=threads, help=f"of PyTorch on a CPU ({threads})")


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", type=named_path, metavar="FILE", help="write the numbers there as well")

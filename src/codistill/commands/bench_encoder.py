"""`codistill bench encoder E…`: images per second of any encoder at given sizes, on this machine."""

import argparse
import time

import torch
from rich.console import Console
from rich.table import Table

from codistill.encoders.base import Encoder
from codistill.encoders.load import load_encoder
from codistill.errors import ConfigError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="codistill bench encoder",
        description="Images per second of a forward pass (best round), and milliseconds per image.",
    )
    parser.add_argument("encoders", nargs="+", metavar="E", help="what load_encoder accepts")
    parser.add_argument(
        "--size", type=int, action="append", metavar="PX", help="square side; repeatable (224)"
    )
    parser.add_argument("--batch", type=int, default=4, metavar="N", help="images per pass (4)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="passes, after one to warm up (5)")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (PyTorch's own choice)")
    return parser


@torch.inference_mode()
def seconds_per_pass(encoder: Encoder, images: torch.Tensor, rounds: int) -> float:
    """The fastest of `rounds` forward passes after one to warm up."""

    def once() -> float:
        start = time.perf_counter()
        encoder(images)
        if images.is_cuda:
            torch.cuda.synchronize(images.device)
        return time.perf_counter() - start

    once()
    return min(once() for _ in range(rounds))


def main(argv: list[str]) -> int:
    """Run the command."""
    arguments = _parser().parse_args(argv)
    if min(arguments.batch, arguments.rounds, *(arguments.size or [1])) < 1:
        raise ConfigError("--batch, --rounds and --size must be positive")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    threads = torch.get_num_threads()
    table = Table(title=f"{device.type}, {threads} threads, batch {arguments.batch}", title_justify="left")
    for column in ("encoder", "size", "tokens", "images/s", "ms/image"):
        table.add_column(column, justify="left" if column == "encoder" else "right")
    for name in arguments.encoders:
        encoder = load_encoder(name).to(device)
        patch = encoder.spec.patch_size
        for size in arguments.size or [224]:
            side = max(1, round(size / patch)) * patch
            images = torch.randn(arguments.batch, 3, side, side, device=device)
            rate = arguments.batch / seconds_per_pass(encoder, images, arguments.rounds)
            tokens = (side // patch) ** 2
            table.add_row(name, f"{side}", f"{tokens}", f"{rate:.3g}", f"{1000 / rate:.3g}")
    Console().print(table)
    return 0

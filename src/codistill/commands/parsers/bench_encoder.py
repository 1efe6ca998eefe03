"""`codistill bench encoder E…`: images per second of any encoder at given sizes, beside the floor of its products."""

import argparse

from codistill.commands.parsers.bench_options import add_device, add_json


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="codistill bench encoder", description=__doc__)
    parser.add_argument("encoders", nargs="+", metavar="E", help="what load_encoder accepts")
    parser.add_argument(
        "--size", type=int, action="append", metavar="PX", help="square side; repeatable (224)"
    )
    parser.add_argument("--batch", type=int, default=8, metavar="N", help="images of a pass (8)")
    parser.add_argument("--precision", default="auto", choices=("auto", "fp32", "bf16"), help="(auto)")
    parser.add_argument("--compile", action="store_true", help="torch.compile its transformer blocks")
    add_device(parser, threads=2)
    parser.add_argument("--rounds", type=int, default=5, help="passes, the fastest of which counts (5)")
    add_json(parser)
    return parser


def parse(argv: list[str]) -> argparse.Namespace:
    return make_parser().parse_args(argv)

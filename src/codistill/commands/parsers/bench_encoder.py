"""`codistill bench encoder E…`: images per second of any encoder at given sizes, and the floor of its products."""

import argparse

from codistill.commands.parsers.bench_options import add_device, add_json

PARSER = argparse.ArgumentParser(prog="codistill bench encoder", description=__doc__)
add = PARSER.add_argument
add("encoders", nargs="+", metavar="E", help="what load_encoder accepts")
add("--size", type=int, action="append", metavar="PX", help="square side; repeatable (224)")
add("--batch", type=int, default=8, metavar="N", help="images of a pass (8)")
add(
    "--precision",
    default="auto",
    choices=("auto", "exact", "fp32", "bf16", "autocast"),
    help="as of load_encoder, or autocast: the exact network under autocast to bf16 (auto)",
)
add("--images", metavar="DIR", help="photographs, on which tokens are compared with the exact network's")
add(
    "--against",
    default="nothing",
    choices=("nothing", "timm"),
    help="timm's network of the same sizes in fp32, in turns",
)
add("--compile", action="store_true", help="torch.compile its transformer blocks")
add_device(PARSER, threads=2)
add("--rounds", type=int, default=5, help="passes, the fastest of which counts (5)")
add_json(PARSER)

parse = PARSER.parse_args

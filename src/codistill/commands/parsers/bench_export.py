"""`codistill bench export FILE…`: exported files compared with eager PyTorch, in turns on this machine, with memory."""

import argparse

from codistill.commands.parsers.bench_options import add_json
from codistill.commands.parsers.paths import named_path

PARSER = argparse.ArgumentParser(prog="codistill bench export", description=__doc__)
add = PARSER.add_argument
add("files", nargs="+", type=named_path, metavar="FILE", help="of `codistill export`, all of one network")
add("--size", type=int, metavar="PX", help="square side (224, unless the files have a fixed size)")
add("--batch", type=int, default=1, metavar="N", help="images of a pass (1)")
add("--compile", action="store_true", help="the network under torch.compile as well: minutes")
add(
    "--against",
    metavar="E",
    help="another encoder in eager PyTorch, e.g. timm:vit_small_patch14_dinov2,pretrained=false",
)
add(
    "--no-memory",
    dest="memory",
    action="store_false",
    help="do not measure memory, which takes a process each",
)
add("--threads", type=int, default=1, help="of every runtime (1)")
add("--rounds", type=int, default=10, help="passes, the fastest of which counts (10)")
add_json(PARSER)

parse = PARSER.parse_args

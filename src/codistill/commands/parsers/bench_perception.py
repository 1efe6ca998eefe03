"""`codistill bench perception`: what one encoder for all heads saves, compared with an encoder for each head.

Without --perception: networks of the published sizes with random weights, part by part: a student with DINOv2's linear
head, Multi-HMR's head and MASt3R's decoder, compared with the three teachers. With it: your own, on your images.
"""

import argparse

from codistill.commands.parsers.bench_options import add_device, add_json
from codistill.errors import ConfigError

PARSER = argparse.ArgumentParser(prog="codistill bench perception", description=__doc__)
add = PARSER.add_argument
add("--perception", metavar="NAME|YAML", help="encoder and heads of your own")
add("--image", action="append", default=[], metavar="FILE", help="for --perception; repeatable")
add("--size", type=int, metavar="PX", help="side of the published networks' images (448)")
add("--rounds", type=int, default=3, help="measurements, the shortest counts; 0: operations alone (3)")
add_device(PARSER, threads=1)
add_json(PARSER)


def parse(argv: list[str]) -> argparse.Namespace:
    """The arguments, checked.

    Raises:
        ConfigError: for impossible numbers, or options that contradict each other.
    """
    arguments = PARSER.parse_args(argv)
    own = arguments.perception is not None
    if own != bool(arguments.image):
        raise ConfigError("--perception and --image FILE belong together: give both, or none")
    if own and arguments.size is not None:
        raise ConfigError("--size is of the published networks; a perception says its own")
    if arguments.threads < 1 or arguments.rounds < (1 if own else 0) or (arguments.size or 448) < 28:
        raise ConfigError(
            "--threads must be 1 or more, --rounds 0 or more (1 with --perception), --size 28 or more"
        )
    return arguments

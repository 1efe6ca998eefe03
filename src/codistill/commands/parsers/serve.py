"""Options of `codistill serve`."""

import argparse
import os
from pathlib import Path

from codistill.errors import ConfigError
from codistill.weights.shipped import shipped_perception

TOKEN_VARIABLE = "CODISTILL_TOKEN"

PARSER = argparse.ArgumentParser(
    prog="codistill serve",
    description="One page on which one encoder pass feeds every head, and a REST API beside it: pictures, video files "
    "and the webcam, on this machine, without a network. Open the address that it prints.",
)
add = PARSER.add_argument
add(
    "--perception",
    metavar="NAME|YAML",
    help="a known perception, or a YAML file that names an encoder and heads (the first that ships)",
)
add("--port", type=int, default=8000, help="to listen on; 0: any free one (%(default)s)")
add("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0: reachable by others (%(default)s)")
add(
    "--name",
    action="append",
    default=[],
    metavar="HOST",
    help="a host name that a proxy in front is known by; repeatable",
)
add(
    "--token",
    metavar="T",
    help=f"what a client must show (or the variable {TOKEN_VARIABLE}, which `ps` does not show)",
)
add("--warm", action="store_true", help="look at samples with all heads before listening")
group = PARSER.add_argument_group("limits")
group.add_argument("--max-clients", type=int, default=32, metavar="N", help="tabs at one time (%(default)s)")
group.add_argument(
    "--max-fps", type=float, default=30.0, metavar="N", help="frames a second of a tab (%(default)s)"
)
group.add_argument(
    "--max-edge",
    type=int,
    default=768,
    metavar="PX",
    help="the page's pictures are reduced to this (%(default)s)",
)
group.add_argument("--max-megabytes", type=int, default=16, metavar="N", help="of one request (%(default)s)")
group.add_argument(
    "--max-megapixels", type=float, default=24.0, metavar="N", help="of one picture (%(default)s)"
)
group.add_argument("--seconds", type=float, default=30.0, help="that one request may take (%(default)s)")
add("--device", default="auto", choices=("auto", "cpu", "cuda"), help="(auto)")


def parse(argv: list[str]) -> argparse.Namespace:
    """The arguments; argparse may end the process (--help, errors).

    Raises:
        ConfigError: for a perception file that does not exist.
    """
    arguments = PARSER.parse_args(argv)
    arguments.unnamed = arguments.perception is None
    if arguments.unnamed:
        arguments.perception = shipped_perception()
    path = Path(arguments.perception)
    if path.suffix.lower() in (".yaml", ".yml") and not path.is_file():
        raise ConfigError(f"{path}: there is no such file")
    arguments.token = arguments.token or os.environ.get(TOKEN_VARIABLE) or None
    return arguments

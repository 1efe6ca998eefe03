"""Options of `codistill analyze`."""

import argparse

from codistill.commands.parsers.paths import named_path
from codistill.errors import ConfigError

SIZE = 448

PARSER = argparse.ArgumentParser(
    prog="codistill analyze",
    description="Of a run: explained variance of teachers and projections, and how teachers' losses move "
    "together. Of any encoders, on images: features as colours, attention maps, nearest patches.",
)
add = PARSER.add_argument
add("targets", nargs="+", metavar="RUN|E", help="runs of `distill`; with --images, what load_encoder takes")
add("--images", nargs="+", metavar="IMAGE", help="look at these with every encoder")
add("--size", type=int, help=f"with --images: shorter side in pixels, before rounding ({SIZE})")
add("--block", type=int, help="with --images: block of the attention maps (-1: the last)")
add(
    "--register-neurons",
    type=int,
    metavar="N",
    help="with --images: find the N hidden units that make long tokens",
)
add(
    "--no-variance",
    dest="variance",
    action="store_false",
    help="of runs: leave out the explained variance, for which all teachers see the held-out images",
)
add(
    "--out", type=named_path, metavar="DIR", help="where figures and numbers go (RUN/analysis, or `analysis`)"
)


def parse(argv: list[str]) -> argparse.Namespace:
    """The options; those for images are refused without images.

    Raises:
        ConfigError: for an option without effect.
    """
    options = PARSER.parse_args(argv)
    for name in ("size", "block"):
        if not options.images and getattr(options, name) is not None:
            raise ConfigError(f"--{name} would have no effect on runs: it is for --images a.jpg b.jpg …")
    if options.images and not options.variance:
        raise ConfigError("--no-variance would have no effect on --images: it is for runs")
    options.size = SIZE if options.size is None else options.size
    options.block = -1 if options.block is None else options.block
    return options

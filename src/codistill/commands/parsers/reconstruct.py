"""Options of `codistill reconstruct`."""

import argparse

from codistill.commands.parsers.paths import named_path
from codistill.commands.parsers.task_options import add_computing, add_other_encoder_option, choose_head
from codistill.geometry.robust import MAX_SAMPLES, PNP_SOLVERS, RobustConfig

PARSER = argparse.ArgumentParser(
    prog="codistill reconstruct",
    description="Cameras and a coloured point cloud from two or more pictures of one place. Beside scene.glb, "
    "scene.json (poses, focal lengths) and scene.png (depth, matches, the points from aside) are written.",
)
add = PARSER.add_argument
add("images", nargs="+", metavar="IMAGE")
add(
    "--out",
    type=named_path,
    action="append",
    required=True,
    metavar="PATH",
    help=".glb, .ply, .json, or a folder for COLMAP's text model; repeatable",
)
add(
    "--head",
    type=named_path,
    metavar="HEAD",
    help="of `codistill fit two-view`, or the name of a model that ships (the first that has one)",
)
add("--model", type=named_path, metavar="FILE", help="a released MASt3R, DUSt3R or DUNE-MASt3R file")
add("--encoder", metavar="E", help="where the head's encoder is, or the model's")
add_other_encoder_option(PARSER)
add("--long-edge", type=int, metavar="PX", help="image size for the network (its own)")
add(
    "--focal",
    type=float,
    metavar="PX",
    help="focal length of every image, in its pixels (its EXIF, else estimated)",
)
add("--window", type=int, metavar="N", help="only pairs at most N images apart (all pairs)")
add("--iterations", type=int, default=300, help="of global alignment; 0: none (300)")
add("--min-confidence", type=float, metavar="C", help="of points (the best four fifths of each image)")
add("--min-matches", type=int, default=12, metavar="N", help="consistent matches of a pair; 0: any (12)")
group = PARSER.add_argument_group("poses under outliers")
group.add_argument(
    "--pnp",
    choices=PNP_SOLVERS,
    default=PNP_SOLVERS[0],
    help="pose from points and pixels: usac (P3P on three points, local optimization), p3p (four points), sqpnp "
    "and epnp (both five points) (%(default)s)",
)
group.add_argument(
    "--samples",
    type=int,
    metavar="N",
    default=MAX_SAMPLES,
    help="at most so many, of every solver; fewer where many matches agree (%(default)s)",
)
group.add_argument("--sample-seed", type=int, default=0, metavar="N", help="of the samples (0)")
add_computing(PARSER, workers="")


def robust_config(arguments: argparse.Namespace) -> RobustConfig:
    """The robust solver's config.

    Raises:
        ConfigError: for impossible numbers.
    """
    return RobustConfig(pnp=arguments.pnp, samples=arguments.samples, seed=arguments.sample_seed)


def parse(argv: list[str]) -> argparse.Namespace:
    """The checked arguments; argparse may end the process (--help, errors).

    Raises:
        ConfigError: for impossible numbers of samples, or a head and a model together.
        CheckpointError: see `choose_head`.
    """
    arguments = PARSER.parse_args(argv)
    robust_config(arguments)
    choose_head(arguments, "two-view")
    return arguments

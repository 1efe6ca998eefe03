"""What commands with two-view models may be told: how robust solvers sample; options without effect are refused."""

import argparse

from codistill.errors import ConfigError
from codistill.geometry.robust import MAX_SAMPLES, PNP_SOLVERS, RobustConfig


def add_robust_options(parser: argparse.ArgumentParser) -> None:
    """--pnp, --samples and --sample-seed."""
    group = parser.add_argument_group("poses under outliers")
    group.add_argument(
        "--pnp",
        choices=PNP_SOLVERS,
        help="pose from points and pixels: usac (P3P on three points, local optimization), p3p (four points), sqpnp "
        f"and epnp (both five points) ({PNP_SOLVERS[0]})",
    )
    group.add_argument(
        "--samples",
        type=int,
        metavar="N",
        help=f"at most so many, of every solver; fewer where many matches agree ({MAX_SAMPLES})",
    )
    group.add_argument("--sample-seed", type=int, metavar="N", help="of the samples (0)")


def robust_config(arguments: argparse.Namespace) -> RobustConfig:
    """What `add_robust_options` says.

    Raises:
        ConfigError: for numbers that make no sense.
    """
    said = {"pnp": arguments.pnp, "samples": arguments.samples, "seed": arguments.sample_seed}
    return RobustConfig(**{name: value for name, value in said.items() if value is not None})


def refuse_without_effect(arguments: argparse.Namespace, options: tuple[str, ...], because: str) -> None:
    """Refuse options that were given and would change nothing; unset ones are None.

    Raises:
        ConfigError: naming them, and why they have no effect.
    """
    given = [f"--{name}" for name in options if getattr(arguments, name.replace("-", "_")) is not None]
    if given:
        raise ConfigError(f"{' and '.join(given)} would change nothing: {because}; leave it out")

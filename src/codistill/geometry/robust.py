"""Common settings of the robust solvers: number of samples, confidence, seed."""

from dataclasses import dataclass
from typing import Literal, TypedDict, get_args

from codistill.errors import ConfigError, unknown_name

PnpSolver = Literal["usac", "p3p", "sqpnp", "epnp"]
PNP_SOLVERS: tuple[PnpSolver, ...] = get_args(PnpSolver)
"""Names of the solvers in `geometry.pnp`, the default first."""

MAX_SAMPLES = 10_000
"""Largest number of samples of every robust solver; it is the same for all, for a fair comparison of methods."""
PROBABILITY = 0.9999
"""A solver may stop early once the probability that one all-inlier sample was drawn reaches this value."""


class Draws(TypedDict):
    iterations: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class RobustConfig:
    """How poses are estimated under outliers, with any solver.

    Attributes:
        pnp: see `geometry.pnp`.
        samples: largest number of samples, for every solver.
        seed: seed of the samples.
    """

    pnp: PnpSolver = PNP_SOLVERS[0]
    samples: int = MAX_SAMPLES
    seed: int = 0

    def __post_init__(self) -> None:
        if self.pnp not in PNP_SOLVERS:
            raise ConfigError(unknown_name("PnP solver", self.pnp, PNP_SOLVERS))
        if self.samples < 1:
            raise ConfigError(f"the number of samples must be 1 or more; got {self.samples}")
        if not 0 <= self.seed < 2**31:
            raise ConfigError(f"the seed of the samples must lie in [0, 2**31); got {self.seed}")

    @property
    def draws(self) -> Draws:
        """The arguments of every robust solver's sampling."""
        return {"iterations": self.samples, "seed": self.seed}

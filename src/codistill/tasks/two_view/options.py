"""Scoring options shared by all tasks with two-view models; options without effect are refused."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from codistill.errors import ConfigError, check_least
from codistill.geometry.robust import MAX_SAMPLES, PnpSolver, RobustConfig


@dataclass(frozen=True, kw_only=True)
class ModelTest:
    """How images are prepared for a two-view model.

    Attributes:
        long_edge: length of the longer side in pixels; None: the model's own.
    """

    long_edge: int | None = None

    def __post_init__(self) -> None:
        check_least(self, "long_edge")


@dataclass(frozen=True, kw_only=True)
class PoseTest(ModelTest):
    """How camera poses are estimated.

    Attributes:
        subsample: distance between the seeds of matching, pixels of the network's image.
        pnp: solver of the pose from points and pixels: usac (P3P on three points, local optimization), p3p (four
            points), sqpnp and epnp (both five points).
        samples: largest number of samples in every robust solver; fewer are drawn if many matches agree.
        sample_seed: seed of these samples.
    """

    subsample: int = 8
    pnp: PnpSolver = "usac"
    samples: int = MAX_SAMPLES
    sample_seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, "subsample")
        assert self.robust  # constructing it checks pnp, samples and sample_seed

    @property
    def robust(self) -> RobustConfig:
        return RobustConfig(pnp=self.pnp, samples=self.samples, seed=self.sample_seed)


def refuse_without_effect(test: Any, because: str, names: Sequence[str] | None = None) -> None:
    """Refuse options that differ from their default and would change nothing.

    Args:
        test: the options.
        because: why they have no effect.
        names: names of the options to check; None: all.

    Raises:
        ConfigError: if there are such options; the message names them.
    """
    given = [
        one.name
        for one in fields(test)
        if (names is None or one.name in names) and getattr(test, one.name) != one.default
    ]
    if given:
        flags = " and ".join(f"--{name.replace('_', '-')}" for name in given)
        raise ConfigError(f"{flags} would change nothing: {because}; leave it out")

"""How often a run whose length alone is known logs and saves."""

import pytest

from codistill.engine.settings import EngineConfig
from codistill.errors import ConfigError


@pytest.mark.parametrize(
    ("steps", "log_every", "checkpoint_every"),
    [(1, 1, 1), (9, 1, 2), (200, 20, 50), (1_000, 50, 250), (100_000, 50, 1000)],
)
def test_intervals_follow_the_length(steps: int, log_every: int, checkpoint_every: int) -> None:
    config = EngineConfig.for_steps(steps, seed=3)
    assert (config.total_steps, config.seed) == (steps, 3)
    assert (config.log_every, config.checkpoint_every) == (log_every, checkpoint_every)


def test_other_fields_are_checked_as_ever() -> None:
    with pytest.raises(ConfigError, match="total_steps is 0"):
        EngineConfig.for_steps(0)
    with pytest.raises(TypeError, match="log_evry"):
        EngineConfig.for_steps(5, log_evry=2)

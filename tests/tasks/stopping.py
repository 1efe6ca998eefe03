"""A fit of a head that is asked to stop after so many steps."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from codistill.engine.settings import EngineConfig


@contextmanager
def stopping_after(step: int) -> Iterator[None]:
    """Every run of the engine in this context stops after the step."""
    whole = EngineConfig.for_steps
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EngineConfig, "for_steps", lambda steps, **rest: whole(steps, **rest, stop_after=step))
        yield

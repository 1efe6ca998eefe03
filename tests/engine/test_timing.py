import time

import pytest
import torch

from codistill.engine.timing import PhaseTimer


def fail_after(seconds: float) -> None:
    time.sleep(seconds)
    raise KeyError


def test_phases_add_up_and_are_forgotten_once_collected():
    timer = PhaseTimer(torch.device("cpu"))
    timer.restart()
    for _ in range(2):
        with timer.phase("teachers"):
            time.sleep(0.02)
    with pytest.raises(KeyError), timer.phase("student"):
        fail_after(0.01)
    total, phases = timer.collect()
    assert set(phases) == {"teachers", "student"}
    assert 0.04 <= phases["teachers"] < 0.2 and phases["student"] >= 0.01
    assert total >= phases["teachers"] + phases["student"]
    again, nothing = timer.collect()
    assert nothing == {} and again < total

"""Calls that are started early: their results and errors, forks and copies, and what is left of them."""

import gc
import pickle
import threading
import time

import pytest

from codistill.files.remote.ahead import THREAD, Ahead


def threads() -> int:
    return sum(thread.name == THREAD for thread in threading.enumerate())


def test_results_are_those_of_the_calls_that_began_first() -> None:
    ahead: Ahead[int] = Ahead(2)
    ahead.begin("a", lambda: 1)
    ahead.begin("a", lambda: 2)
    assert ahead.take("a", lambda: 3) == 1
    assert ahead.take("a", lambda: 3) == 3
    ahead.begin("b", lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        ahead.take("b", lambda: 0)


def test_a_copy_starts_its_own() -> None:
    ahead: Ahead[int] = Ahead(3)
    ahead.begin("a", lambda: 1)
    copy = pickle.loads(pickle.dumps(ahead))
    assert copy.threads == 3 and copy.take("a", lambda: 2) == 2 and ahead.take("a", lambda: 2) == 1


def test_its_threads_end_with_it() -> None:
    gc.collect()
    time.sleep(0.05)
    before = threads()

    class Owner:
        def __init__(self) -> None:
            self.ahead: Ahead[Owner] = Ahead(4)
            for key in range(8):
                self.ahead.begin(key, lambda: self)

    owner = Owner()
    assert all(owner.ahead.take(key, Owner) is owner for key in range(8))
    assert threads() == before + 4
    del owner
    deadline = time.monotonic() + 10
    while threads() > before and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.01)
    assert threads() == before

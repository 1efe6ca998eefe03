"""Timing in turns: who comes when, which measurement counts, what a machine is called."""

import os
import time

import pytest
import torch

from codistill.bench.machine import threads, where
from codistill.bench.timing import Best, Timed, measured, ratio, take_turns

CPU = torch.device("cpu")


def test_calls_take_turns_and_are_repeated() -> None:
    said: list[str] = []
    once, twice = Timed(lambda: said.append("a")), Timed(lambda: said.append("b"), repeats=2)
    take_turns(2, once.measure, twice.measure)
    assert "".join(said) == "abbabb"
    assert 0 < once.best.wall < 1 and 0 <= twice.best.cpu < 1


def test_the_shortest_counts_by_either_clock_and_its_phases_stay() -> None:
    best = Best()
    for wall, cpu, phases in ((3.0, 1.0, {"a": 3.0}), (2.0, 2.0, {"a": 2.0}), (4.0, 3.0, {"a": 4.0})):
        best.saw(wall, cpu, phases)
    assert (best.wall, best.cpu, best.phases) == (2.0, 1.0, {"a": 2.0})


def test_waiting_takes_wall_clock_time_and_no_processor() -> None:
    wall, cpu = measured(lambda: time.sleep(0.05), CPU, repeats=2)
    assert wall >= 0.05 and cpu < 0.5 * wall


def test_a_machine_has_a_name_and_no_more_threads_than_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1000)
    assert threads() == len(os.sched_getaffinity(0)) and where(CPU).startswith(f"{threads()} thread(s) of ")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert threads() == 1


def test_a_ratio_is_of_the_shortest_and_of_every_turn() -> None:
    found = ratio([4.0, 6.0, 9.0, 8.0], [2.0, 2.0, 3.0, 1.0])
    assert (found.of_best, found.median, found.low, found.high) == (4.0, 3.0, 2.75, 4.25)
    assert str(found) == "4.00 (turns: 3.00 [2.75, 4.25])"

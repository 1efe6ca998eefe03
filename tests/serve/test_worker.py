"""The one thread: turns in order, no growing queue, errors that say what happened."""

import asyncio
import threading
import time

import pytest

from codistill.serve.worker import BusyError, SlowError, Worker


def test_one_thing_at_a_time_in_order_of_asking() -> None:
    running, most, order = 0, 0, []

    def work(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.01)
        order.append(number)
        running -= 1
        return number

    async def main() -> list[int]:
        worker = Worker(5)
        return await asyncio.gather(*(worker.compute(lambda n=n: lambda: work(n)) for n in range(6)))

    assert asyncio.run(main()) == list(range(6))
    assert order == list(range(6))
    assert most == 1


def test_what_is_wanted_is_asked_when_the_turn_has_come() -> None:
    async def main() -> str:
        worker, newest = Worker(5), ["old"]
        first = asyncio.create_task(worker.compute(lambda: lambda: time.sleep(0.05)))
        await asyncio.sleep(0.01)
        second = asyncio.create_task(worker.compute(lambda: lambda seen=newest[-1]: seen))
        await asyncio.sleep(0.01)
        newest.append("new")
        await first
        return await second

    assert asyncio.run(main()) == "new"


def test_slow_and_busy_are_errors_and_the_worker_lives() -> None:
    async def main() -> float:
        worker, end = Worker(0.1), threading.Event()
        with pytest.raises(SlowError, match=r"0\.1 seconds"):
            await worker.compute(lambda: lambda: end.wait(5))
        assert worker.busy_seconds() > 0.05
        with pytest.raises(BusyError, match="no turn within"):
            await worker.compute(lambda: lambda: None)
        end.set()
        await asyncio.sleep(0.05)
        assert worker.busy_seconds() == 0
        assert worker.waiting == 0
        return await worker.compute(lambda: lambda: 2.0)

    assert asyncio.run(main()) == 2.0


def test_errors_reach_the_caller_and_free_the_turn() -> None:
    def fail() -> None:
        raise KeyError("a bug")

    async def main() -> int:
        worker = Worker(1)
        with pytest.raises(KeyError):
            await worker.compute(lambda: fail)
        with pytest.raises(KeyError):
            await worker.compute(fail)  # type: ignore[arg-type]
        return await worker.compute(lambda: lambda: 1)

    assert asyncio.run(main()) == 1

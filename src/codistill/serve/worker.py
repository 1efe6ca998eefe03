"""The one thread that computes, and the queue of those who wait for it.

Turns are given in the order of asking. Each tab asks for one turn at a time, so that tabs alternate. What to compute is
determined only when the turn comes: by then a tab may have a newer frame, which has replaced the older one.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from codistill.errors import CodistillError

Result = TypeVar("Result")


class BusyError(CodistillError):
    """Too many requests are waiting, or the wait took too long."""


class SlowError(CodistillError):
    """The computation took longer than one request may take."""


class Worker:
    """Runs one computation at a time.

    Args:
        seconds: time limit for waiting and computing together.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.waiting = 0
        self.busy_since: float | None = None
        self._turn = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="codistill-serve")

    async def compute(self, prepare: Callable[[], Callable[[], Result]]) -> Result:
        """Wait for a turn, call `prepare`, which returns what to compute at that time, and compute it in the thread.

        Raises:
            BusyError: if the turn did not come in time.
            SlowError: if the computation took too long. The next turn waits for its end; the caller does not.
        """
        until = time.monotonic() + self.seconds
        self.waiting += 1
        try:
            await asyncio.wait_for(self._turn.acquire(), self.seconds)
        except TimeoutError:
            raise BusyError(
                f"no turn within {self.seconds:g} seconds: too many others ask; try again"
            ) from None
        finally:
            self.waiting -= 1
        try:
            work = prepare()
        except BaseException:
            self._turn.release()
            raise
        self.busy_since = time.monotonic()
        future = asyncio.get_running_loop().run_in_executor(self._thread, work)
        future.add_done_callback(self._end_turn)
        await asyncio.wait({future}, timeout=max(0.0, until - time.monotonic()))
        if not future.done():
            raise SlowError(f"this took longer than the {self.seconds:g} seconds that one request may take")
        return future.result()

    def _end_turn(self, future: "asyncio.Future[Any]") -> None:
        self.busy_since = None
        self._turn.release()
        if not future.cancelled():
            future.exception()  # retrieve the error, so that asyncio does not log it when the caller has left

    def busy_seconds(self) -> float:
        """Seconds for which the present computation has been running; 0 if there is none."""
        since = self.busy_since
        return 0.0 if since is None else time.monotonic() - since

    def close(self) -> None:
        """Let the thread end after its present computation."""
        self._thread.shutdown(wait=False, cancel_futures=True)

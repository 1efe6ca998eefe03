"""Start calls in background threads before their results are needed, and collect the results later."""

import os
import queue
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")
_Begun = tuple[Future[Any], Callable[[], Any]]
THREAD = "codistill-ahead"
_MOST_WAITING = 4096


class Ahead(Generic[Result]):
    """Calls by key that were started early. It is pickled without them: each process starts its own.

    Args:
        threads: number of calls at the same time.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._start()

    def _start(self) -> None:
        self._process = os.getpid()
        self._begun: OrderedDict[Hashable, Future[Result]] = OrderedDict()
        self._waiting: queue.SimpleQueue[_Begun | None] = queue.SimpleQueue()
        self._running = 0
        weakref.finalize(self, self._waiting.put, None)

    def __getstate__(self) -> dict[str, object]:
        return {"threads": self.threads}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._start()

    def begin(self, key: Hashable, call: Callable[[], Result]) -> None:
        """Start a call, unless one with this key was started. Of results that nobody takes, the oldest are dropped."""
        if self._process != os.getpid():  # threads do not survive a fork
            self._start()
        if key in self._begun:
            return
        future: Future[Result] = Future()
        self._begun[key] = future
        if len(self._begun) > _MOST_WAITING:
            self._begun.popitem(last=False)[1].cancel()
        self._waiting.put((future, call))
        if self._running < self.threads:
            self._running += 1
            threading.Thread(target=_work, args=(self._waiting,), daemon=True, name=THREAD).start()

    def take(self, key: Hashable, call: Callable[[], Result]) -> Result:
        """Return the result of the key's call, started early or made now; raises what the call raises."""
        future = self._begun.pop(key, None) if self._process == os.getpid() else None
        return call() if future is None else future.result()


def _work(waiting: "queue.SimpleQueue[_Begun | None]") -> None:
    """Make the calls of a queue until its owner is gone; it then holds None, which every thread leaves for the next."""
    while (begun := waiting.get()) is not None:
        future, call = begun
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(call())
            except BaseException as error:
                future.set_exception(error)
        del begun, future, call  # the call may hold the owner
    waiting.put(None)

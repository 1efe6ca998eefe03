"""Read samples in order by threads, while the model computes on earlier ones."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Read = TypeVar("Read")


def read_ahead(read: Callable[[int], Read], count: int, threads: int | None) -> Iterator[Read]:
    """Yield `read(0)`, …, `read(count - 1)`. Each thread is one sample ahead, and one more waits.

    Args:
        read: returns a sample by its index; with more than one thread, several threads call it at the same time.
        count: number of samples.
        threads: that read; 0: samples are read when they are asked for, None: 1.

    Raises:
        Exception: what `read` raises, when its sample is asked for.
    """
    threads = 1 if threads is None else threads
    if not threads:
        yield from map(read, range(count))
        return
    pool = ThreadPoolExecutor(threads, thread_name_prefix="codistill-read")
    begun: deque[Future[Read]] = deque()
    try:
        for index in range(count):
            begun.append(pool.submit(read, index))
            if len(begun) > threads + 1:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)

"""Progress of a long computation: a bar with the time left on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from codistill.tasks.shared.config import Runtime

EVERY = 30.0
"""Seconds between two lines where there is no terminal."""

Report = Callable[[int], None]
"""Called with the number done."""


def duration(seconds: float) -> str:
    """`40 s`, `3 min`, `2.5 h`."""
    if seconds < 100:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"


@contextmanager
def shown(runtime: Runtime, title: str, total: int) -> Iterator[Report]:
    """A function to call with the number done of `total`; the time left counts from its first call."""
    if runtime.console.is_terminal:
        columns = (TextColumn(f"{title:<18}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=runtime.console, transient=True) as bar:
            line = bar.add_task("", total=total)
            yield lambda done: bar.update(line, completed=done)
        return
    yield Lines(runtime.say, title, total)


class Lines:
    """Prints a line every `EVERY` seconds, with the time left.

    Args:
        say: prints a line.
        title: what is computed.
        total: number of steps.
        clock: gives seconds.
    """

    def __init__(
        self, say: Callable[[str], None], title: str, total: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.say, self.title, self.total, self.clock = say, title, total, clock
        self.first: int | None = None
        self.started = self.said = clock()

    def __call__(self, done: int) -> None:
        now = self.clock()
        if self.first is None:
            self.first, self.started, self.said = done, now, now
        elif now - self.said >= EVERY and self.first < done < self.total:
            left = (now - self.started) / (done - self.first) * (self.total - done)
            self.say(f"{self.title}: {done} of {self.total}, about {duration(left)} left")
            self.said = now

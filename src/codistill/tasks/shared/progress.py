"""Show the progress of a long computation: a bar with the time left on a terminal, lines of text elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from codistill.tasks.shared.config import Runtime

EVERY = 30.0
"""Seconds between two lines if there is no terminal."""
FIRST = 2
"""Calls before the total time is estimated: the first batch includes the start of the workers."""

Report = Callable[[int], None]
"""Called with the number of items done."""


def duration(seconds: float) -> str:
    """A duration as text: `40 s`, `3 min`, `2.5 h`."""
    if seconds < 100:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"


@contextmanager
def shown(runtime: Runtime, title: str, total: int, *, announced: bool = False) -> Iterator[Report]:
    """Context manager: yields a function to call with the number of items done of `total`.

    The time left is measured from the first call. The total time is printed once, as soon as it can be estimated,
    unless the caller has `announced` it.
    """
    cost = None if announced else Announcement(runtime.say, title, total)
    if runtime.console.is_terminal:
        columns = (TextColumn(f"{title:<18}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=runtime.console, transient=True) as bar:
            line = bar.add_task("", total=total)

            def update(done: int) -> None:
                bar.update(line, completed=done)
                if cost is not None:
                    cost(done)

            yield update
        return
    lines = Lines(runtime.say, title, total)

    def printed(done: int) -> None:
        if cost is not None:
            cost(done)
        lines(done)

    yield printed


@dataclass
class Told:
    """What is reported on a long computation, in lines of text.

    Attributes:
        say: prints a line.
        title: what is computed.
        total: number of items.
        clock: returns seconds.
    """

    say: Callable[[str], None]
    title: str
    total: int
    clock: Callable[[], float] = time.monotonic


@dataclass
class Announcement(Told):
    """Print once how long the whole computation takes, estimated from the speed after the first batch."""

    def __post_init__(self) -> None:
        self.seen: list[tuple[int, float]] = []  # number done and seconds of the first calls

    def __call__(self, done: int) -> None:
        if len(self.seen) > FIRST:
            return
        self.seen.append((done, self.clock()))
        if len(self.seen) <= FIRST or done >= self.total:
            return
        (begun, started), (before, then), (_, now) = self.seen
        whole = now - started + (now - then) / max(1, done - before) * (self.total - done)
        rest = f"{self.total - begun} of {self.total}" if begun else f"{self.total}"
        self.say(f"{self.title}: {rest}, about {duration(whole)}")


@dataclass
class Lines(Told):
    """Print a line with the time left every `EVERY` seconds."""

    def __post_init__(self) -> None:
        self.first: int | None = None
        self.started = self.said = self.clock()

    def __call__(self, done: int) -> None:
        now = self.clock()
        if self.first is None:
            self.first, self.started, self.said = done, now, now
        elif now - self.said >= EVERY and self.first < done < self.total:
            left = (now - self.started) / (done - self.first) * (self.total - done)
            self.say(f"{self.title}: {done} of {self.total}, about {duration(left)} left")
            self.said = now

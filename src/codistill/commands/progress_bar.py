"""A progress bar over samples on standard error; without a terminal, a line from time to time."""

import sys

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from codistill.tasks.shared.progress import Lines


class SampleProgress:
    """A progress bar, called with the number of finished samples and the total.

    Args:
        title: title of the bar.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        console = Console(file=sys.stderr)
        self._bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._line = self._bar.add_task("", total=None)
        self._lines: Lines | None = None

    def __enter__(self) -> "SampleProgress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, done: int, total: int) -> None:
        if self._bar.console.is_terminal:
            self._bar.update(self._line, completed=done, total=total)
            return
        if self._lines is None:
            _say(f"{self._title}: {total} in all")
            self._lines = Lines(_say, self._title, total)
        self._lines(done)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

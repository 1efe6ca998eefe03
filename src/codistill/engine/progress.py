"""Training progress: a bar with the remaining time on a terminal, plain lines elsewhere."""

import time
from collections.abc import Mapping
from datetime import timedelta
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class ProgressDisplay:
    """Shows the steps done, the time left, the loss, images per second and the share of time spent waiting for data.

    Args:
        total_steps: of the run.
        start_step: step at which this call starts.
        console: where to print; None prints nothing (ranks other than 0).
    """

    def __init__(self, total_steps: int, start_step: int, console: Console | None) -> None:
        self._total, self._start, self._console = total_steps, start_step, console
        self._began = time.monotonic()
        self._bar: Progress | None = None
        if console is not None and console.is_terminal:
            self._bar = Progress(
                TextColumn("step"),
                MofNCompleteColumn(),
                BarColumn(bar_width=None),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.description}"),
                console=console,
                expand=True,
                speed_estimate_period=300.0,
            )
            self._task = self._bar.add_task("", total=total_steps, completed=start_step)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, done: int) -> None:
        """Show that `done` steps of the run are done."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done)

    def interval(self, done: int, numbers: Mapping[str, float]) -> None:
        """Show the numbers of the last log interval."""
        text = "  ".join(
            f"{label} {numbers[name]:{form}}"
            for label, name, form in (
                ("loss", "loss", ".4g"),
                ("images/s", "time/images_per_second", ".3g"),
                ("data wait", "time/share/data", ".0%"),
            )
            if name in numbers
        )
        if self._bar is not None:
            self._bar.update(self._task, completed=done, description=text)
        elif self._console is not None:
            per_step = (time.monotonic() - self._began) / max(done - self._start, 1)
            left = timedelta(seconds=round(per_step * (self._total - done)))
            self.line(f"step {done}/{self._total}  {text}  left {left}")

    def line(self, text: str) -> None:
        """Print a message that stays on the screen."""
        if self._console is not None:
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)

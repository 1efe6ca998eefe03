"""Coordinate a validation over ranks that have different numbers of batches, or none, and that may fail.

Before each batch, before each sum and at the end, the ranks exchange their state between hosts: a round. A rank that
fails, or is asked to stop, thus ends the validation on all ranks after at most one batch. A rank without further
batches waits. No other communication may take place in between.
"""

from collections.abc import Iterable, Iterator
from typing import Literal

from torch import Tensor

from codistill.engine.distributed import Process
from codistill.engine.objective import BatchT
from codistill.engine.signals import StopVote

Stand = Literal["batch", "sum", "end", "failed"]
_STANDS: tuple[Stand, ...] = ("batch", "sum", "end", "failed")


class HaltedError(Exception):
    """Ends the validation on this rank because another rank failed, or because the run was asked to stop."""


class Rounds:
    """The rounds of one validation.

    Args:
        process: this process.
        vote: knows whether this process was asked to stop.
    """

    def __init__(self, process: Process, vote: StopVote) -> None:
        self._process, self._vote = process, vote
        self._summed = False
        self.halted: Literal["failed", "stopped"] | None = None

    def batches(self, batches: Iterable[BatchT]) -> Iterator[BatchT]:
        """Yield this rank's batches, with a round before each."""
        for batch in batches:
            if self._summed:
                raise TypeError(
                    "evaluate() asked for another batch after a sum over ranks. Ranks have different numbers of "
                    "batches: sum once, after the last one."
                )
            self._take_part("batch")
            yield batch

    def sum(self, tensor: Tensor) -> Tensor:
        """Sum a tensor over ranks, in place, once every rank has finished its batches."""
        self._summed = True
        self._together("sum")
        return self._process.all_reduce_sum(tensor, what="validation")

    def end(self) -> None:
        """Wait until every rank has its numbers."""
        self._together("end")

    def fail(self) -> None:
        """Tell the other ranks that this one failed; they learn it in their next round."""
        if self.halted is None:
            self._round("failed")
            self.halted = self.halted or "failed"

    def _together(self, stand: Stand) -> None:
        while True:
            there = self._take_part(stand)
            if there[stand] == self._process.world_size:
                return
            if there["batch"] == 0:
                raise TypeError(
                    "evaluate() sums over ranks more often on one rank than on another. Sum on every rank, also on "
                    "those without batches."
                )

    def _take_part(self, stand: Stand) -> dict[Stand, int]:
        """Take part in a round; return the number of ranks in each state.

        Raises:
            HaltedError: from then on, if a rank failed, or if one was asked to stop while batches are left.
        """
        there = {} if self.halted else self._round(stand)
        if self.halted:
            raise HaltedError(self.halted)
        return there

    def _round(self, stand: Stand) -> dict[Stand, int]:
        mine = [float(stand == one) for one in _STANDS]
        *counts, stopping = self._process.add_up([*mine, float(self._vote.requested is not None)])
        there: dict[Stand, int] = {one: int(count) for one, count in zip(_STANDS, counts, strict=True)}
        if there["failed"]:
            self.halted = "failed"
        elif stopping and there["batch"]:
            self.halted = "stopped"
        return there

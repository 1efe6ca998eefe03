"""Validation on many ranks: each with its own number of batches, or none, and free to fail.

Before each batch, each sum and the end, the ranks exchange their state between hosts: a round. So a rank that fails, or
is asked to stop, ends it for all after at most one batch, and one without further batches waits. Nothing else may
communicate in between.
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
    """Ends a rank's part of a validation because another rank failed, or because the run was asked to stop."""


class Rounds:
    """One validation's exchanges.

    Args:
        process: this process.
        vote: knows whether this process was asked to stop.
    """

    def __init__(self, process: Process, vote: StopVote) -> None:
        self._process, self._vote = process, vote
        self._summed = False
        self.halted: Literal["failed", "stopped"] | None = None

    def batches(self, batches: Iterable[BatchT]) -> Iterator[BatchT]:
        """This rank's batches, a round before each."""
        for batch in batches:
            if self._summed:
                raise TypeError(
                    "evaluate() asked for another batch after a sum over ranks. Ranks have different numbers of "
                    "batches: sum once, after the last one."
                )
            self._take_part("batch")
            yield batch

    def sum(self, tensor: Tensor) -> Tensor:
        """Sum a tensor over ranks, in place, when every rank has finished its batches."""
        self._summed = True
        self._together("sum")
        return self._process.all_reduce_sum(tensor, what="validation")

    def end(self) -> None:
        """Wait until every rank has its numbers."""
        self._together("end")

    def fail(self) -> None:
        """Announce that this rank failed; the others learn it in their next round."""
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
        """A round: the number of ranks in each state.

        Raises:
            HaltedError: from now on, if a rank failed, or was asked to stop while batches are left.
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

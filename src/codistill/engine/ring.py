"""Metrics of the last steps, kept on the device: scalars in, one read for many steps out.

A row per step, a column per name. Reading reduces over ranks: a metric is the mean over ranks with a value (not NaN);
one named in `summed` is the sum.
"""

from collections.abc import Callable, Collection

import torch
from torch import Tensor


class MetricRing:
    """A device tensor (row, column) of step metrics.

    Args:
        rows: steps that fit between two reads.
        device: where the metrics are.
        summed: names that add up over ranks.
    """

    def __init__(self, rows: int, device: torch.device, summed: Collection[str] = ()) -> None:
        self._capacity, self._device, self._summed = rows, device, frozenset(summed)
        self._names: tuple[str, ...] = ()
        self._rows: Tensor | None = None
        self._steps: list[int] = []

    def __len__(self) -> int:
        return len(self._steps)

    @property
    def full(self) -> bool:
        """Whether it must be read before the next step."""
        return len(self._steps) == self._capacity

    @torch.no_grad()
    def add(self, step: int, metrics: dict[str, Tensor]) -> None:
        """Keep one step's scalars.

        Raises:
            ValueError: if the names are not those of the first step.
        """
        if self._rows is None:
            self._names = tuple(metrics)
            self._rows = torch.full((self._capacity, len(metrics)), torch.nan, device=self._device)
        if tuple(metrics) != self._names:
            odd = sorted(set(metrics) ^ set(self._names)) or "the same ones in another order"
            raise ValueError(
                f"step {step} gave other metrics than the first one: {odd}. Give every name in every step, "
                "NaN where it has no value."
            )
        torch.stack([value.float() for value in metrics.values()], out=self._rows[len(self._steps)])
        self._steps.append(step)

    @torch.no_grad()
    def read(self, all_reduce_sum: Callable[[Tensor], Tensor]) -> list[tuple[int, dict[str, float]]]:
        """All kept steps with their values, oldest first, then cleared. One collective, one host sync."""
        if self._rows is None or not self._steps:
            return []
        rows = self._rows[: len(self._steps)]
        said = ~rows.isnan()
        packed = torch.stack((torch.where(said, rows, 0.0), said.float()))
        sums, counts = all_reduce_sum(packed)
        columns = [name in self._summed for name in self._names]
        divisor = torch.where(torch.tensor(columns, device=self._device), counts.clamp(max=1.0), counts)
        table: list[list[float]] = (sums / divisor).tolist()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        steps, self._steps = self._steps, []
        return [
            (step, dict(zip(self._names, row, strict=True))) for step, row in zip(steps, table, strict=True)
        ]

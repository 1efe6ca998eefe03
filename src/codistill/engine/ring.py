"""Buffer of step metrics on the device: scalars in, one read for many steps out.

One row per step, one column per metric. Reading reduces over ranks: a metric is its mean over the ranks that have a
value (not NaN), or its sum if it is named in `summed`.
"""

from collections.abc import Callable, Collection

import torch
from torch import Tensor


class MetricRing:
    """A device tensor (row, column) of step metrics.

    Args:
        rows: number of steps that fit between two reads.
        device: where the metrics are.
        summed: names of the metrics that are summed over ranks.
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
        """Whether the buffer must be read before the next step."""
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
        """Return the stored steps with their values, oldest first, and clear them. One collective, one host sync."""
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

"""Matrix products timed alone: a step in, the rate at which this machine computes its products out.

The best of several measurements counts: other work on the machine only ever lengthens one.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch

from codistill.nn.products import count_flops, record_products

_SHORTEST = 2e-3
"""Seconds that a product is repeated for, at least: what clocks and launches cost must not count."""


@dataclass
class Best:
    """The shortest of several measurements, in seconds.

    Attributes:
        wall: on the clock.
        cpu: of this process's threads, all together.
        phases: where the wall-clock time of the shortest one went.
    """

    wall: float = float("inf")
    cpu: float = float("inf")
    phases: Mapping[str, float] = field(default_factory=dict)

    def saw(self, wall: float, cpu: float, phases: Mapping[str, float] | None = None) -> None:
        """Take another measurement."""
        if wall < self.wall:
            self.wall, self.phases = wall, phases or {}
        self.cpu = min(self.cpu, cpu)


def measured(call: Callable[[], object], device: torch.device, repeats: int = 1) -> tuple[float, float]:
    """Wall-clock and processor seconds of one of `repeats` calls."""
    _wait(device)
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(repeats):
        call()
    _wait(device)
    return (time.perf_counter() - wall) / repeats, (time.process_time() - cpu) / repeats


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class ProductTimer:
    """The products of a step, timed alone.

    Args:
        step: runs the step once.
        device: where it runs.
    """

    def __init__(self, step: Callable[[], object], device: torch.device) -> None:
        self.device = device
        with torch.compiler.set_stance("force_eager"):  # counting would compile a compiled step again
            self.products = record_products(step)
            self.flops = count_flops(step)
        self._calls = {product: product.call() for product in self.products}
        self._best = {product: Best() for product in self.products}
        self._onednn = {product: call for product in self.products if (call := product.onednn_call())}
        self._best_onednn = {product: Best() for product in self._onednn}
        self._replayed = Best()
        self._repeats = {
            product: 1 + int(_SHORTEST / max(measured(call, device)[0], 1e-7))
            for product, call in self._calls.items()
        }

    def measure(self) -> None:
        """Time every product once more, and all of the step's products in a row."""
        for product, call in self._calls.items():
            self._best[product].saw(*measured(call, self.device, self._repeats[product]))
        for product, call in self._onednn.items():
            self._best_onednn[product].saw(*measured(call, self.device, self._repeats[product]))
        self._replayed.saw(*measured(self._replay, self.device))

    def _replay(self) -> None:
        for product, count in self.products.items():
            for _ in range(count):
                self._calls[product]()

    @property
    def product_flops(self) -> int:
        """Operations of all products of the step; the rest are convolutions and attention."""
        return sum(product.flops * count for product, count in self.products.items())

    def rate(self, clock: str = "wall") -> float:
        """Operations per second over all products, by the shortest time of each; `clock` is wall or cpu.

        Infinite where there are no products, as in a convolutional network: there is no floor then.
        """
        spent = sum(getattr(self._best[p], clock) * count for p, count in self.products.items())
        return self.product_flops / spent if spent else float("inf")

    def floor(self, clock: str = "wall") -> float:
        """Seconds that the step's operations take at that rate."""
        return self.flops / self.rate(clock)

    def fastest_floor(self) -> float:
        """The same where every product takes the faster of two kernels: PyTorch's own for it, and oneDNN's on a CPU."""
        spent = sum(
            count * min(self._best[product].wall, self._best_onednn.get(product, Best()).wall)
            for product, count in self.products.items()
        )
        return spent * self.flops / max(1, self.product_flops)

    def replayed_floor(self, clock: str = "wall") -> float:
        """The same at the rate of all the step's products in a row.

        Short measurements find the moments in which a shared machine is idle, long ones do not: on such a machine this
        is the fair comparison with a whole step.
        """
        return getattr(self._replayed, clock) * self.flops / max(1, self.product_flops)

"""Time the matrix products of a step alone: a step in, this machine's rate on its products out."""

from collections.abc import Callable

import torch

from codistill.bench.timing import Timed, measured
from codistill.nn.products import Product, count_flops, record_products

_SHORTEST = 2e-3
"""Minimal seconds for which a product is repeated, so that the cost of clocks and launches is negligible."""


class ProductTimer:
    """The products of a step, timed alone.

    Args:
        step: function that runs the step once.
        device: device on which it runs.
    """

    def __init__(self, step: Callable[[], object], device: torch.device) -> None:
        with torch.compiler.set_stance("force_eager"):  # counting would recompile a compiled step
            self.products = record_products(step)
            self.flops = count_flops(step)
        self._timed: dict[Product, Timed] = {}
        self._onednn: dict[Product, Timed] = {}
        for product in self.products:
            call, onednn = product.call(), product.onednn_call()
            repeats = 1 + int(_SHORTEST / max(measured(call, device)[0], 1e-7))
            self._timed[product] = Timed(call, device, repeats)
            if onednn:
                self._onednn[product] = Timed(onednn, device, repeats)
        self._replayed = Timed(self._replay, device)

    def measure(self) -> None:
        """Time every product once more, and all products of the step one after the other."""
        for timed in (*self._timed.values(), *self._onednn.values(), self._replayed):
            timed.measure()

    def _replay(self) -> None:
        for product, count in self.products.items():
            for _ in range(count):
                self._timed[product].call()

    @property
    def product_flops(self) -> int:
        """Operations of all products of the step; the remaining ones are convolutions and attention."""
        return sum(product.flops * count for product, count in self.products.items())

    def rate(self, clock: str = "wall") -> float:
        """Operations per second over all products, from the shortest time of each; `clock` is wall or cpu.

        It is infinite if there are no products, as in a convolutional network, which has no floor.
        """
        spent = sum(getattr(self._timed[p].best, clock) * count for p, count in self.products.items())
        return self.product_flops / spent if spent else float("inf")

    def floor(self, clock: str = "wall") -> float:
        """Seconds of the step's operations at `rate`."""
        return self.flops / self.rate(clock)

    def fastest_floor(self) -> float:
        """The floor if each product uses the faster of PyTorch's kernel and, on a CPU, oneDNN's."""
        spent = sum(
            count * min(each[product].best.wall for each in (self._timed, self._onednn) if product in each)
            for product, count in self.products.items()
        )
        return spent * self.flops / max(1, self.product_flops)

    def replayed_floor(self, clock: str = "wall") -> float:
        """The floor at the rate of all the step's products, run one after the other.

        On a shared machine a short measurement can fall into an idle moment; a long one cannot. There this floor is the
        fair comparison with a whole step.
        """
        return getattr(self._replayed.best, clock) * self.flops / max(1, self.product_flops)

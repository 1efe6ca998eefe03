"""Whether an exported file computes what eager PyTorch computes in fp32: cases in, a `Check` per output out.

Differences count relative to the root mean square of the eager output: relative to each number they would be infinite
where it is 0, relative to the largest one outliers would hide them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from codistill.deploy.config import ExportConfig
from codistill.deploy.exportable import Exportable, Sizes
from codistill.nn.seeded import seeded
from codistill.programs.record import Check, PrecisionName

Run = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
"""Inputs by name to outputs by name."""

Pictures = Callable[[int, int, int], Tensor]
"""A number of images, rows and columns in pixels, to (batch, row, column, 3) uint8."""


@dataclass(frozen=True)
class Case:
    """Inputs to compare on.

    Attributes:
        about: in words.
        inputs: by name.
    """

    about: str
    inputs: Mapping[str, Tensor]


@dataclass
class Differences:
    """Sums over cases, of one tensor."""

    largest: float = 0.0
    mean: float = 0.0

    def see(self, found: Tensor, wanted: Tensor) -> None:
        """Add one case; anything that is not finite in one of the two alone counts as infinite."""
        if found.shape != wanted.shape:
            self.largest = self.mean = float("inf")
            return
        found, wanted = found.double(), wanted.double()
        scale = wanted.square().mean().sqrt().item() if wanted.numel() else 0.0
        difference = (found - wanted).abs()
        difference = torch.where((found == wanted) | (found.isnan() & wanted.isnan()), 0.0, difference)
        largest = difference.max().item() if difference.numel() else 0.0
        mean = difference.square().mean().sqrt().item() if difference.numel() else 0.0
        self.largest = max(self.largest, _ratio(largest, scale))
        self.mean = max(self.mean, _ratio(mean, scale))


def _ratio(difference: float, scale: float) -> float:
    if difference == 0.0:
        return 0.0
    ratio = difference / scale if scale else float("inf")
    return ratio if ratio == ratio else float("inf")


def sizes_to_check(config: ExportConfig, patch_size: int, native: int | None, least: int = 1) -> list[Sizes]:
    """Sizes of the cases: small, wide, tall, and the encoder's native square, which it treats by itself."""
    batches = (1, 2, 3) if config.batch is None else (config.batch,) * 3
    if config.size is not None:
        rows, columns = (side // patch_size for side in config.size)
        grids = [(rows, columns)]
    else:
        side = (native or 16 * patch_size) // patch_size
        grids = [(max(least, 6), 9), (11, max(least, 4)), (side, side)]
    chosen = [Sizes(batch=batches[place % 3], rows=r, columns=c) for place, (r, c) in enumerate(grids)]
    if config.size is None:  # the largest one alone
        chosen[-1] = Sizes(batch=batches[0], rows=grids[-1][0], columns=grids[-1][1])
    return chosen


def cases(network: Exportable, sizes: Iterable[Sizes], pictures: Pictures, about: str) -> list[Case]:
    """Random and real inputs of every size."""
    patch, found = network.about.patch_size, []
    for index, size in enumerate(sizes):
        shape = (size.batch, size.rows * patch, size.columns * patch)
        with seeded(index):
            noise = torch.randint(0, 256, (*shape, 3), dtype=torch.uint8)
        text = f"{shape[0]} of {shape[1]}x{shape[2]}"
        found.append(Case(f"noise, {text}", network.example(size, noise)))
        found.append(Case(f"{about}, {text}", network.example(size, pictures(*shape))))
    return found


def eager(network: Exportable) -> Run:
    """The network itself, run by PyTorch."""

    def run(inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        with torch.inference_mode():
            found: Sequence[Tensor] = network(*(inputs[port.name] for port in network.inputs))
        return {port.name: tensor for port, tensor in zip(network.outputs, found, strict=True)}

    return run


def compare(found: Run, wanted: Run, names: Sequence[str], given: Iterable[Case]) -> tuple[Check, ...]:
    """The differences of every output over all cases."""
    seen = {name: Differences() for name in names}
    for case in given:
        of_found, of_wanted = found(case.inputs), wanted(case.inputs)
        for name in names:
            seen[name].see(of_found[name], of_wanted[name])
    return tuple(Check(output=n, largest=d.largest, mean=d.mean) for n, d in seen.items())


def measure(check: Check, precision: PrecisionName) -> float:
    """What the tolerance is for: the largest difference; the mean one for int8, whose outliers are many."""
    return check.mean if precision == "int8" else check.largest

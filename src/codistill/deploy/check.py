"""Compare an exported file with eager PyTorch in fp32: cases in, a `Check` per output out.

Differences are relative to the root mean square of the eager output. Relative to each number they would be infinite
where it is 0; relative to the largest number they would be hidden by outliers.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from codistill.deploy.config import ExportConfig
from codistill.deploy.exportable import Exportable, Sizes
from codistill.deploy.pictures import Pictures
from codistill.errors import DataError
from codistill.nn.seeded import seeded
from codistill.programs.record import Check, PrecisionName

Run = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
"""Function from inputs by name to outputs by name."""


@dataclass(frozen=True)
class Case:
    """Inputs on which outputs are compared.

    Attributes:
        about: description in words.
        inputs: inputs by name.
    """

    about: str
    inputs: Mapping[str, Tensor]


@dataclass
class Differences:
    """Differences of one output: the largest values over all cases."""

    largest: float = 0.0
    mean: float = 0.0

    def see(self, found: Tensor, wanted: Tensor) -> None:
        """Add one case; an element that is not finite in only one of the two counts as an infinite difference."""
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
    """Sizes of the cases: wide, tall, and the native square, for which position embeddings are not resized.

    There is only one size if the export fixes it, with one image and with two if their number is open.
    """
    batches = (1, 2, 3) if config.batch is None else (config.batch,) * 3
    if config.size is not None:
        rows, columns = (side // patch_size for side in config.size)
        grids = [(rows, columns)] * (2 if config.batch is None else 1)
    else:
        side = (native or 16 * patch_size) // patch_size
        grids = [(max(least, 6), 9), (11, max(least, 4)), (side, side)]
    chosen = [Sizes(batch=batches[place % 3], rows=r, columns=c) for place, (r, c) in enumerate(grids)]
    if config.size is None:  # the largest size with one image
        chosen[-1] = Sizes(batch=batches[0], rows=grids[-1][0], columns=grids[-1][1])
    return chosen


def cases(network: Exportable, sizes: Sequence[Sizes], pictures: Pictures) -> list[Case]:
    """Cases of every size, with random inputs and with the next ones of the pictures."""
    patch, found, first = network.about.patch_size, [], 0
    used = min(pictures.count, sum(size.batch for size in sizes))
    for index, size in enumerate(sizes):
        shape = (size.batch, size.rows * patch, size.columns * patch)
        with seeded(index):
            noise = torch.randint(0, 256, (*shape, 3), dtype=torch.uint8)
        text = f"{shape[0]} of {shape[1]}x{shape[2]}"
        found.append(Case(f"noise, {text}", network.example(size, noise)))
        images = pictures.batch(range(first, first + size.batch), *shape[1:])
        found.append(Case(f"{used} {pictures.about}, {text}", network.example(size, images)))
        first += size.batch
    return found


def eager(network: Exportable) -> Run:
    """Run the network itself in PyTorch."""

    def run(inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        with torch.inference_mode():
            found: Sequence[Tensor] = network(*(inputs[port.name] for port in network.inputs))
        return {port.name: tensor for port, tensor in zip(network.outputs, found, strict=True)}

    return run


def finite(run: Run) -> Run:
    """The same function for outputs that must be finite, since NaN would equal NaN in every comparison.

    Raises:
        DataError: (when called) if one of them is not.
    """

    def checked(inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        outputs = run(inputs)
        bad = [name for name, tensor in outputs.items() if not tensor.isfinite().all()]
        if bad:
            raise DataError(
                f"{', '.join(bad)} of eager PyTorch are not finite (NaN or infinite): the weights are damaged, or "
                "overflow. Take the file again from where it came from, or an earlier checkpoint"
            )
        return outputs

    return checked


def compare(found: Run, wanted: Run, names: Sequence[str], given: Iterable[Case]) -> tuple[Check, ...]:
    """The differences of every output over all cases."""
    seen = {name: Differences() for name in names}
    for case in given:
        of_found, of_wanted = found(case.inputs), wanted(case.inputs)
        for name in names:
            seen[name].see(of_found[name], of_wanted[name])
    return tuple(Check(output=n, largest=d.largest, mean=d.mean) for n, d in seen.items())


def measure(check: Check, precision: PrecisionName) -> float:
    """The difference to which the tolerance applies: the largest one, or for int8, with its outliers, the mean one."""
    return check.mean if precision == "int8" else check.largest

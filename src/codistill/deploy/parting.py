"""The first layer whose numbers part: a network whose exported file differs from eager, in; the layer's name, out.

The network is exported once more with the outputs of its layers as further outputs, in the order in which they are
computed. The first that differs by more than the tolerance is the one to look at: its inputs still agree.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from codistill.deploy.check import Case, Run, compare, eager
from codistill.deploy.exportable import Exportable, Sizes
from codistill.programs.record import Check, Port

Rebuild = Callable[[Exportable], Run]
"""Export a network the same way, and run the result."""


class Tapped(Exportable):
    """A network whose layers' outputs are outputs as well.

    Args:
        network: the original.
        layers: names of its submodules, in order of computation.
    """

    def __init__(self, network: Exportable, layers: list[str]) -> None:
        super().__init__()
        self.network, self.layers = network, layers
        self.about, self.inputs, self.dtype = network.about, network.inputs, network.dtype
        self.fixed_size, self.least = network.fixed_size, network.least
        ports = [Port(name=f"layer_{index}", axes=()) for index in range(len(layers))]
        self.outputs = (*network.outputs, *ports)

    def to_lower(self) -> list[nn.Module]:
        return self.network.to_lower()

    def example(self, sizes: Sizes, images: Tensor) -> dict[str, Tensor]:
        return self.network.example(sizes, images)

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        found = outputs_of(self.network, given)
        return (*found.pop(""), *(found[name].float() for name in self.layers))


def outputs_of(network: nn.Module, given: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """Outputs that are tensors, of every submodule by name, as first computed; of the network itself under ''."""
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, tuple[object, ...], object], None]:
        def hook(module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
            if isinstance(output, Tensor) and name not in found:
                found[name] = output

        return hook

    hooks = [part.register_forward_hook(keep(name)) for name, part in network.named_modules() if name]
    try:
        whole = network(*given)
    finally:
        for hook in hooks:
            hook.remove()
    return {**found, "": whole}


def first_parting(
    network: Exportable, lowered: Exportable, rebuild: Rebuild, case: Case, too_large: Callable[[Check], bool]
) -> str | None:
    """The name of the first layer that differs; None if none does once all of them are outputs.

    Args:
        network: as eager runs it, in fp32.
        lowered: as it was exported.
        rebuild: see `Rebuild`.
        case: inputs on which the two differ.
        too_large: whether a difference is beyond the tolerance.
    """
    inputs = tuple(case.inputs[port.name] for port in network.inputs)
    with torch.inference_mode():
        layers = [name for name in outputs_of(network, inputs) if name]
    tapped = Tapped(network, layers)
    run = rebuild(Tapped(lowered, layers))
    names = [port.name for port in tapped.outputs[len(network.outputs) :]]
    for check, layer in zip(compare(run, eager(tapped), names, [case]), layers, strict=True):
        if too_large(replace(check, output=layer)):
            return layer
    return None


def worst_case(found: Run, wanted: Run, names: list[str], given: list[Case]) -> Case:
    """The case with the largest difference in any output."""

    def largest(case: Case) -> float:
        return max(check.largest for check in compare(found, wanted, names, [case]))

    return max(given, key=largest)

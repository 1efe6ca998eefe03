"""Find the first layer whose output differs between an exported file and eager PyTorch: a network in, a name out.

The network is exported again with the outputs of its layers as further outputs, in the order in which they are
computed. The first one that differs by more than the tolerance is the place to look at, since its inputs still agree.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from codistill.deploy.check import Case, Run, compare, eager
from codistill.deploy.exportable import Exportable, Sizes
from codistill.programs.record import Check, Port

Rebuild = Callable[[Exportable], Run]
"""Function that exports a network the same way, and returns what runs the result."""


class Tapped(Exportable):
    """A network that also returns the outputs of its layers.

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
    """First output of each submodule, by its name, if it is a tensor; the network's own outputs have the name ''."""
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
    """The name of the first layer that differs; None if no layer differs when all of them are outputs.

    Args:
        network: the network that runs eagerly, in fp32.
        lowered: the network that was exported.
        rebuild: see `Rebuild`.
        case: inputs for which the two differ.
        too_large: whether a difference exceeds the tolerance.
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

"""Trace an `Exportable` to a `torch.export` program with symbolic open axes, from which every format is made."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from codistill.deploy.exportable import Exportable, Sizes
from codistill.programs.program import multiple_of
from codistill.programs.record import Port

TRACED = Sizes(batch=2, rows=5, columns=7)
"""Sizes of the example; they differ, so that the tracer does not take two axes to be equal."""
LARGEST = {"batch": 65536, "rows": 4096, "columns": 4096}


def trace(network: Exportable, example: Mapping[str, Tensor]) -> ExportedProgram:
    """Trace a network.

    Args:
        network: the network in evaluation mode.
        example: inputs by name, whose open axes have different sizes above 1.
    """
    least = {"batch": 1, "rows": network.least, "columns": network.least}
    symbols = {name: Dim(name, min=least[name], max=most) for name, most in LARGEST.items()}
    shapes = tuple(_open_axes(port, symbols) for port in network.inputs)
    inputs = tuple(example[port.name] for port in network.inputs)
    with torch.no_grad():
        return torch.export.export(network, inputs, dynamic_shapes=(shapes,), strict=False)


def _open_axes(port: Port, symbols: Mapping[str, Dim]) -> dict[int, Dim]:
    return {
        place: multiple_of(axis) * symbols[axis.partition("*")[0]]
        for place, axis in enumerate(port.axes)
        if isinstance(axis, str)
    }

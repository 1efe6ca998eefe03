"""Trace an `Exportable` to a `torch.export` program with symbolic open axes, from which every format is made."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram
from torch.export.graph_signature import InputKind

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
        program = torch.export.export(network, inputs, dynamic_shapes=(shapes,), strict=False)
    return _without_idle_weights(program)


def _without_idle_weights(program: ExportedProgram) -> ExportedProgram:
    """The same program without weights that nothing reads, which PyTorch would store: of a head alone, its encoder."""
    inputs = program.graph_signature.input_specs
    idle = {node.name: node for node in program.graph.nodes if node.op == "placeholder" and not node.users}
    for spec in list(inputs):
        if spec.kind in (InputKind.PARAMETER, InputKind.BUFFER) and spec.arg.name in idle:
            program.graph.erase_node(idle[spec.arg.name])
            inputs.remove(spec)
            for held in (
                program.state_dict,
                program.constants,
            ):  # constants: buffers that a state dict leaves out
                held.pop(spec.target or "", None)
    program.graph_module.recompile()
    return program


def _open_axes(port: Port, symbols: Mapping[str, Dim]) -> dict[int, Dim]:
    return {
        place: multiple_of(axis) * symbols[axis.partition("*")[0]]
        for place, axis in enumerate(port.axes)
        if isinstance(axis, str)
    }

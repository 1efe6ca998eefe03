"""Write ONNX from a `torch.export` program: opset 18 of the default domain, codistill's names, the record as metadata.

Only standard operators are used. Rotary positions and the resizing of position embeddings are plain arithmetic, and
attention is two matrix products around a softmax. onnxruntime, TensorRT and OpenVINO fuse operators themselves.
"""

import copy
import logging
import re
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from codistill.deploy.config import ExportConfig
from codistill.deploy.exportable import Exportable
from codistill.errors import MissingExtraError
from codistill.files.onnx_parts import weights_beside
from codistill.files.writing import cannot_write
from codistill.programs.onnx_file import EXTRA
from codistill.programs.program import multiple_of
from codistill.programs.record import KEY, ProgramRecord

OPSET = 18
LARGEST_FILE = 1_800_000_000
"""Largest size of a model's file in bytes; weights of larger models go to a separate file, since a protocol buffer
holds at most 2 GB."""


def onnx_packages() -> Any:
    """Import the module `onnx`, and check that `onnxscript` is installed, which PyTorch's exporter needs.

    Raises:
        MissingExtraError: if one of them is not installed.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401  (PyTorch's exporter needs it)
    except ImportError as error:
        raise MissingExtraError(error.name or "onnx", EXTRA, "Exporting to ONNX") from error
    return onnx


def onnx_model(program: ExportedProgram, network: Exportable, config: ExportConfig) -> Any:
    """Convert a program to an ONNX model (a protocol buffer of the package `onnx`).

    Raises:
        MissingExtraError: if the extra is not installed.
    """
    names = [port.name for port in network.inputs], [port.name for port in network.outputs]
    with _quiet("torch.onnx", "onnx_ir", "onnxscript"):
        made = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=OPSET,
            input_names=names[0],
            output_names=names[1],
            custom_translation_table={torch.ops.aten.repeat_interleave.self_int: _repeat_interleave},
            verbose=False,
        )
    assert made is not None
    model = made.model_proto
    _name_axes(model, network)
    for node in model.graph.node:  # drop paths of this machine, which take a third of a small file
        kept = [(p.key, p.value) for p in node.metadata_props if p.key == "namespace"]
        del node.metadata_props[:]
        for key, value in kept:
            node.metadata_props.add(key=key, value=value)
    return in_integers(model) if config.precision == "int8" else model


def _repeat_interleave(self: Any, repeats: Any, dim: int | None = None, output_size: Any = None) -> Any:
    """Translate `repeat_interleave`, (n,) to (n · repeats,), which rotary positions of an open grid use.

    onnxscript's own translation (0.7.2) repeats along the wrong axis if the number of repeats is symbolic.
    """
    from onnxscript import opset18

    if dim is not None:
        raise NotImplementedError("repeat_interleave along an axis")
    op: Any = opset18  # onnxscript's annotations do not cover values of a graph
    one = op.Constant(value_ints=[1])
    count = op.Constant(value_ints=[repeats]) if isinstance(repeats, int) else op.Reshape(repeats, one)
    column = op.Reshape(self, op.Constant(value_ints=[-1, 1]))
    repeated = op.Expand(column, op.Concat(one, count, axis=0))
    return op.Reshape(repeated, op.Constant(value_ints=[-1]))


def _name_axes(model: Any, network: Exportable) -> None:
    """Rename the exporter's symbols for open axes to `batch`, `rows*14`, …."""
    symbols: dict[str, str] = {}
    for value, port in zip(model.graph.input, network.inputs, strict=True):
        for said, axis in zip(value.type.tensor_type.shape.dim, port.axes, strict=True):
            if isinstance(axis, str):
                factor = multiple_of(axis)
                symbol = (
                    re.sub(rf"^{factor}\*|\*{factor}$", "", said.dim_param) if factor > 1 else said.dim_param
                )
                symbols[symbol] = axis.partition("*")[0]
    graph = model.graph
    for value in (*graph.input, *graph.output, *graph.value_info):
        for said in value.type.tensor_type.shape.dim:
            if said.dim_param:
                said.dim_param = re.sub(
                    r"\b[a-zA-Z_]\w*\b", lambda found: symbols.get(found[0], found[0]), said.dim_param
                )


def in_integers(model: Any) -> Any:
    """Quantize the products with weights to 8-bit integers: weights per channel, activations per tensor.

    Weights are unsigned, like activations. With signed weights, onnxruntime adds two products in 16 bits on x86
    processors without VNNI. These sums saturate silently, so that the same file gives other numbers there. Unsigned
    weights use another kernel on such processors, and the same kernel as signed ones on processors with VNNI.
    """
    try:
        from onnxruntime.quantization import QuantType, quantize_dynamic
    except ImportError as error:
        raise MissingExtraError("onnxruntime", EXTRA, "An ONNX file in int8") from error
    weights = {tensor.name for tensor in model.graph.initializer}
    chosen = [n.name for n in model.graph.node if n.op_type == "MatMul" and n.input[1] in weights]
    with (
        _quiet(""),
        tempfile.TemporaryDirectory() as folder,
    ):  # silences the root logger's advice on preparing the model
        out = Path(folder) / "int8.onnx"
        quantize_dynamic(
            model,
            out,
            op_types_to_quantize=["MatMul"],
            nodes_to_quantize=chosen,
            per_channel=True,
            weight_type=QuantType.QUInt8,
            use_external_data_format=model.ByteSize() > LARGEST_FILE,
        )
        return onnx_packages().load(out)


@contextmanager
def _quiet(*loggers: str) -> Iterator[None]:
    """Context that hides warnings of these loggers, and Python's own."""
    found = [logging.getLogger(name) for name in loggers]
    levels = [logger.level for logger in found]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for logger in found:
                logger.setLevel(logging.ERROR)
            yield
    finally:
        for logger, level in zip(found, levels, strict=True):
            logger.setLevel(level)


def write_onnx(model: Any, record: ProgramRecord, path: Path) -> None:
    """Write a model with its record; large weights go to PATH.data beside it.

    Raises:
        WriteError: if it cannot be written.
    """
    onnx = onnx_packages()
    said = {
        KEY: record.to_json(),
        "source": record.source,
        "licence": record.licence,
        "patch_size": str(record.patch_size),
        "mean": ", ".join(map(str, record.mean)),
        "std": ", ".join(map(str, record.std)),
    }
    onnx.helper.set_model_props(model, said)
    model.producer_name, model.producer_version = "codistill", record.versions.get("codistill", "")
    model.graph.name = record.name
    try:
        outside = model.ByteSize() > LARGEST_FILE
        options = {"save_as_external_data": True, "location": weights_beside(path).name} if outside else {}
        # Saving external data empties the model.
        onnx.save_model(copy.deepcopy(model) if outside else model, path, **options)
        onnx.checker.check_model(path)
    except OSError as error:
        raise cannot_write(path, error) from error

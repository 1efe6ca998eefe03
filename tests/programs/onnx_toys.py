"""A small ONNX file with a record, made without any exporter: a convolution of stride 2 and the mean of its map."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from codistill.programs.record import KEY, Port, ProgramRecord, TokenFacts

IMAGES = Port(name="images", axes=("batch", 3, "rows*2", "columns*2"))
RECORD = ProgramRecord(
    kind="encoder",
    source="conv",
    name="conv",
    licence="CC0",
    patch_size=2,
    format="onnx",
    precision="fp32",
    inputs=(IMAGES,),
    outputs=(
        Port(name="features", axes=("batch", 4, "rows", "columns")),
        Port(name="cls", axes=("batch", 4)),
    ),
    tokens=TokenFacts(dim=4, depth=1),
)


def toy_convolution() -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(3, 4, 2, stride=2)


def write_toy(
    path: Path, record: ProgramRecord | None = RECORD, *, beside: bool = False, **changes: Any
) -> Path:
    """The file; with another record, or none; `beside`: with its weights in a file of their own."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    conv = toy_convolution()
    weights = [
        numpy_helper.from_array(conv.weight.detach().numpy(), "w"),
        numpy_helper.from_array(conv.bias.detach().numpy(), "b"),  # type: ignore[union-attr]
        numpy_helper.from_array(np.array([2, 3]), "axes"),
    ]
    nodes = [
        helper.make_node("Conv", ["images", "w", "b"], ["features"], strides=[2, 2]),
        helper.make_node("ReduceMean", ["features", "axes"], ["cls"], keepdims=0),
    ]
    shape = ["batch", 3, "rows", "columns"]
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("features", "cls")],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    if record is not None:
        helper.set_model_props(model, {KEY: replace(record, **changes).to_json()})
    options = {"save_as_external_data": True, "location": f"{path.name}.data", "size_threshold": 100}
    onnx.save_model(model, path, **(options if beside else {}))
    return path

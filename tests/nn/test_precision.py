"""bf16 only where asked for, and where nobody may have it; compiled as well."""

import torch
from torch import Tensor

from codistill.nn.precision import autocast, full_precision


def product(x: Tensor) -> Tensor:
    return x @ x


def test_precision_is_bf16_only_where_asked_or_on_cuda() -> None:
    x = torch.ones(2, 2)
    for device in ("cpu", torch.device("cpu")):
        with autocast(device):
            assert product(x).dtype == torch.float32
        with autocast(device, "bf16"):
            assert product(x).dtype == torch.bfloat16
            with full_precision(x):
                assert product(x).dtype == torch.float32
    assert autocast("cuda", "fp32").device == "cuda"


def test_it_is_left_in_a_compiled_graph() -> None:
    def inside(x: Tensor) -> Tensor:
        with full_precision(x):
            return product(x)

    compiled = torch.compile(inside, backend="eager", fullgraph=True)
    with torch.autocast("cpu", torch.bfloat16):
        assert compiled(torch.ones(2, 2)).dtype == torch.float32

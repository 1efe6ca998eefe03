"""bf16 only where asked for, and where nobody may have it; compiled as well."""

import logging

import pytest
import torch
from torch import Tensor

from codistill.nn import precision
from codistill.nn.precision import autocast, full_precision, in_bf16


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


@pytest.mark.parametrize("faster", [True, False])
def test_fast_is_bf16_on_cuda_and_where_a_cpu_is_faster_with_it(
    faster: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "bf16_is_faster", lambda: faster)
    x = torch.ones(2, 2)
    with autocast("cpu", "fast"):
        assert product(x).dtype == (torch.bfloat16 if faster else torch.float32)
    assert in_bf16("cuda", "fast") and in_bf16("cuda") and not in_bf16("cpu")
    assert not in_bf16("mps", "fast")


def test_bf16_in_software_is_warned_of_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for native, said in ((True, 0), (False, 1)):
        monkeypatch.setattr(precision, "onednn_computes_in", lambda dtype, native=native: native)
        precision.warn_of_slow_bf16.cache_clear()
        with caplog.at_level(logging.WARNING, "codistill"):
            assert in_bf16("cpu", "bf16") and in_bf16("cpu", "bf16") and in_bf16("cuda", "bf16")
        assert len(caplog.records) == said
    assert "take the precision fast" in caplog.text
    precision.warn_of_slow_bf16.cache_clear()


def test_it_is_left_in_a_compiled_graph() -> None:
    def inside(x: Tensor) -> Tensor:
        with full_precision(x):
            return product(x)

    compiled = torch.compile(inside, backend="eager", fullgraph=True)
    with torch.autocast("cpu", torch.bfloat16):
        assert compiled(torch.ones(2, 2)).dtype == torch.float32

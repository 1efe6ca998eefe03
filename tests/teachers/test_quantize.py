"""Quantized teachers against the plain ones and against quantization by hand."""

import sys
from dataclasses import replace

import pytest
import torch
from torch import nn

from codistill.encoders.frozen import FrozenViTEncoder
from codistill.encoders.load import load_encoder
from codistill.encoders.vit import ViTEncoder
from codistill.errors import ConfigError, MissingExtraError
from codistill.nn.int8_linear import int8_is_fast
from codistill.recipes.build import build_bank, compile_teachers
from codistill.recipes.registry import find_recipe
from codistill.teachers import precision
from codistill.teachers.quantize import quantize_linears
from codistill.teachers.teacher import Teacher, TeacherConfig
from shared_files import photographs, weights


def test_products_are_those_of_rounded_weights_and_activations() -> None:
    pytest.importorskip("torchao", reason="torchao is not installed")
    torch.manual_seed(0)
    layer, x = nn.Linear(64, 48), torch.randn(5, 64)
    weight, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
    layer.requires_grad_(False)
    quantize_linears(layer)

    def rounded(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        scale = values.abs().amax(1, keepdim=True) / 127.5  # torchao's range is [-128, 127]
        return (values / scale).round().clamp(-128, 127), scale

    (w, w_scale), (a, a_scale) = rounded(weight), rounded(x)
    expected = (a @ w.T) * a_scale * w_scale.T + bias
    exact = x @ weight.T + bias
    found = layer(x)
    assert (found - expected).abs().mean() < 0.15 * (exact - expected).abs().mean()  # ties round either way
    assert (found - exact).norm() / exact.norm() < 0.02


@pytest.mark.parametrize("folded", [True, False])
def test_tokens_stay_close_and_stay_without_gradient(folded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if folded and not int8_is_fast():
        pytest.skip("this processor has no 8-bit products")
    if not folded:
        pytest.importorskip("torchao", reason="torchao is not installed")
        monkeypatch.setattr(precision, "int8_is_fast", lambda: False)
    encoder = "random:vit_tiny,dim=64,num_heads=2,depth=2,seed=1"
    images = torch.randn(2, 3, 56, 56, generator=torch.Generator().manual_seed(1))
    config = TeacherConfig(name="t")
    plain = Teacher(config, load_encoder(encoder))
    teacher = Teacher(replace(config, precision="int8"), load_encoder(encoder))
    with torch.inference_mode():
        found, expected = teacher(images, 14).patches, plain(images, 14).patches
    difference = float((found - expected).norm() / expected.norm())
    assert 0 < difference < 0.05
    assert not any(p.requires_grad for p in teacher.parameters())
    assert teacher.autocast_dtype == torch.float32
    assert isinstance(teacher.encoder, FrozenViTEncoder) is folded


@pytest.mark.parametrize("folded", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_real_tokens_stay_close(folded: bool) -> None:
    if folded and not int8_is_fast():
        pytest.skip("this processor has no 8-bit products")
    if not folded:
        pytest.importorskip("torchao", reason="torchao is not installed")
    encoder = load_encoder(str(weights())).eval()
    images = encoder.preprocess(photographs("generic/*.jpg")[:16], size=(112, 112))
    with torch.inference_mode():
        expected = encoder(images).patches
        if folded:
            assert isinstance(encoder, ViTEncoder)
            found = FrozenViTEncoder(encoder, "int8")(images).patches
        else:
            quantize_linears(encoder.requires_grad_(False))
            found = encoder(images).patches
    # Ties rounded the other way move means of four photographs from .9958 to .9990, of sixteen by some .0005.
    assert torch.nn.functional.cosine_similarity(found, expected, dim=-1).mean() > 0.997
    assert 0.005 < (found - expected).norm() / expected.norm() < 0.08


def test_quantized_teachers_alone_are_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torchao", reason="torchao is not installed")
    monkeypatch.setattr(precision, "int8_is_fast", lambda: False)
    compiled: list[nn.Module] = []
    monkeypatch.setattr(nn.Module, "compile", lambda self, **_: compiled.append(self))
    debug = find_recipe("debug")
    teachers = (debug.teachers[0], replace(debug.teachers[1], precision="int8"))
    bank = build_bank(replace(debug, teachers=teachers))
    compile_teachers(bank, everyone=False)
    own = set(bank[teachers[1].name].modules())
    assert compiled and own.issuperset(compiled)


def test_errors_name_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchao.quantization", None)
    with pytest.raises(MissingExtraError, match=r"codistill\[quantization\]"):
        quantize_linears(nn.Linear(2, 2))
    with pytest.raises(ConfigError, match=r"'int4'.*int8"):
        TeacherConfig(name="t", precision="int4")  # type: ignore[arg-type]

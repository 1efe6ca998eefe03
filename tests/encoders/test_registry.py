"""Users' own encoders: a convolutional network of stride 32 in fewer than fifteen lines, and the mistakes one makes."""

import inspect
from pathlib import Path

import pytest
import torch
from torch import nn

from codistill.encoders.load import load_encoder
from codistill.encoders.registry import (
    REGISTERED,
    FunctionEncoder,
    encoder_names,
    find_factory,
    register_encoder,
)
from codistill.errors import CheckpointError, ConfigError
from codistill.types import EncoderSpec, Tokens


@pytest.fixture(autouse=True)
def no_leftovers():
    before = dict(REGISTERED)
    yield
    REGISTERED.clear()
    REGISTERED.update(before)


def a_users_file() -> None:
    """What a user writes for a new teacher (a network whose feature map has stride 32)."""
    spec = EncoderSpec(
        name="small_cnn", dim=24, patch_size=32, has_cls=False, mean=(0.5,) * 3, std=(0.5,) * 3
    )

    @register_encoder("small_cnn")
    def small_cnn() -> FunctionEncoder:
        steps = [nn.Conv2d(3, 24, 4, stride=4), nn.ReLU(), nn.Conv2d(24, 24, 8, stride=8)]
        return FunctionEncoder(spec, nn.Sequential(*steps))


def test_a_convolutional_teacher_takes_few_lines() -> None:
    code = [line for line in inspect.getsource(a_users_file).splitlines()[2:] if line.strip()]
    assert len(code) <= 15
    a_users_file()
    encoder = load_encoder("small_cnn")
    images = torch.randn(2, 3, 64, 96)
    tokens = encoder(images)
    assert tokens.grid == (2, 3) and tokens.patches.shape == (2, 6, 24) and tokens.cls is None
    network = encoder.function
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pixels = (images * std.view(3, 1, 1) + mean.view(3, 1, 1) - 0.5) / 0.5
    assert torch.allclose(tokens.feature_map(), network(pixels), atol=1e-5)
    assert not encoder.training and len(list(encoder.parameters())) == 4


def test_tokens_say_what_was_asked_and_gradients_flow() -> None:
    spec = EncoderSpec(name="patches", dim=12, patch_size=2, has_cls=True)

    def function(images: torch.Tensor) -> Tokens:
        patches = nn.functional.pixel_unshuffle(images, 2)
        return Tokens(patches.flatten(2).transpose(1, 2), grid=(2, 3), cls=patches.mean((2, 3)))

    encoder = FunctionEncoder(spec, function)
    images = torch.randn(1, 3, 4, 6, requires_grad=True)
    assert encoder(images, norm=False).normed is False
    assert encoder(images, norm=True).normed is True
    encoder(images).patches.sum().backward()
    assert images.grad is not None and images.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"dim": 12, "patch_size": 4, "has_cls": False}, r"patch_size \(4; it must be the stride\)"),
        ({"dim": 16, "patch_size": 2, "has_cls": False}, r"Correct the spec's dim \(16\)"),
        ({"dim": 12, "patch_size": 2, "has_cls": True}, "has_cls"),
    ],
)
def test_a_spec_that_does_not_fit_is_explained(spec: dict, said: str) -> None:
    encoder = FunctionEncoder(EncoderSpec(name="wrong", **spec), nn.PixelUnshuffle(2))
    with pytest.raises(ConfigError, match=said):
        encoder(torch.zeros(1, 3, 8, 8))


def test_other_outputs_are_refused() -> None:
    spec = EncoderSpec(name="logits", dim=10, patch_size=4, has_cls=False)
    with pytest.raises(ConfigError, match="gave a tensor with 2 axes; allowed: Tokens"):
        FunctionEncoder(spec, lambda images: images.mean((2, 3)))(torch.zeros(1, 3, 8, 8))
    register_encoder("not_an_encoder", lambda: nn.Identity())  # type: ignore[arg-type, return-value]
    with pytest.raises(ConfigError, match=r"gave a Identity.*FunctionEncoder\(spec, module\)"):
        load_encoder("not_an_encoder")


def test_names_are_not_taken_over_by_accident() -> None:
    a_users_file()
    a_users_file()  # the same definition again: a module imported twice
    with pytest.raises(ConfigError, match=r"is taken by .*a_users_file"):
        register_encoder("small_cnn", lambda: None)  # type: ignore[arg-type, return-value]
    register_encoder("small_cnn", lambda: None, replace=True)  # type: ignore[arg-type, return-value]
    with pytest.raises(ConfigError, match="must not be empty or hold"):
        register_encoder("timm:mine", lambda: None)  # type: ignore[arg-type, return-value]


def installed_encoder() -> FunctionEncoder:
    """What a package's entry point names."""
    spec = EncoderSpec(name="shuffled", dim=12, patch_size=2, has_cls=False)
    return FunctionEncoder(spec, nn.PixelUnshuffle(2))


def test_installed_packages_add_encoders(install, tmp_path, monkeypatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    install(
        "[codistill.encoders]\nshuffled = test_registry:installed_encoder\nbroken = no_such_module:made\n"
        "number = math:pi\ndinov2_vits14 = test_registry:installed_encoder\n"
    )
    encoder = load_encoder("shuffled")
    assert encoder.spec.name == "shuffled" and not encoder.training
    added = [name for name in encoder_names() if name not in REGISTERED]
    assert added == ["shuffled", "broken", "number"]  # known weights are not replaced
    with pytest.raises(
        ConfigError, match=r"'broken' of codistill.encoders \(no_such_module:made\) cannot be"
    ):
        load_encoder("broken")
    with pytest.raises(ConfigError, match="is float, not a function"):
        load_encoder("number")
    with pytest.raises(ConfigError, match="Did you mean 'shuffled'"):
        load_encoder("shufled")
    with pytest.raises(ConfigError, match="cannot be given for shuffled"):
        load_encoder("shuffled,image_size=8")
    register_encoder("shuffled", lambda: installed_encoder())
    assert find_factory("shuffled") is REGISTERED["shuffled"]
    del REGISTERED["shuffled"]
    (tmp_path / "shuffled").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError):  # a path comes first
        load_encoder("shuffled")

"""Encoders in a precision: by an argument or behind the name, told apart by fingerprints."""

from pathlib import Path

import pytest
import torch

from codistill.encoders import precision
from codistill.encoders.fingerprint import encoder_fingerprint
from codistill.encoders.frozen import FrozenViTEncoder
from codistill.encoders.load import load_encoder
from codistill.encoders.states import both_norms
from codistill.encoders.vit import ViTEncoder
from codistill.errors import ConfigError
from codistill.nn import precision as nn_precision
from codistill.tasks.shared.unfrozen import unfrozen

TINY = "random:vit_tiny,dim=48,depth=2,num_heads=3"


def test_the_default_is_the_network_itself() -> None:
    encoder = load_encoder(TINY)
    assert type(encoder) is ViTEncoder and type(load_encoder(TINY, precision="exact")) is ViTEncoder
    assert "precision" not in encoder_fingerprint(encoder).architecture


def test_a_precision_is_an_argument_or_stands_behind_the_name() -> None:
    images = torch.randn(2, 3, 42, 56)
    exact = load_encoder(TINY)(images)
    found = [load_encoder(TINY, precision="bf16"), load_encoder(f"{TINY},precision=bf16")]
    found.append(load_encoder(load_encoder(TINY), precision="bf16"))
    for encoder in found:
        assert isinstance(encoder, FrozenViTEncoder)
        tokens = encoder(images)
        assert torch.equal(tokens.patches, found[0](images).patches)
        assert 0 < (tokens.patches - exact.patches).norm() / exact.patches.norm() < 0.01
        assert tokens.patches.dtype == tokens.cls.dtype == torch.float32
    assert load_encoder(f"{TINY},precision=bf16", precision="fp32").precision == "fp32"


def test_fingerprints_tell_precisions_apart_and_see_the_weights() -> None:
    exact, fp32, bf16 = (
        encoder_fingerprint(load_encoder(TINY, precision=p)) for p in ("exact", "fp32", "bf16")
    )
    assert "precision default against bf16" in exact.difference(bf16)
    assert "precision fp32 against bf16" in fp32.difference(bf16)
    assert not bf16.difference(encoder_fingerprint(load_encoder(f"{TINY},precision=bf16")))
    assert "weights differ" in bf16.difference(
        encoder_fingerprint(load_encoder(f"{TINY},seed=1,precision=bf16"))
    )


def test_a_folded_encoder_applies_its_norm_to_tokens_before_it() -> None:
    encoder = load_encoder(TINY, precision="bf16")
    images = torch.randn(1, 3, 42, 56)
    found = both_norms(encoder, images)
    assert torch.equal(found[True].patches, encoder(images).patches)
    assert torch.equal(found[True].cls, encoder(images).cls)
    assert torch.equal(found[False].patches, encoder(images, norm=False).patches)


def test_the_state_of_another_encoder_is_refused() -> None:
    encoder, other = (load_encoder(f"{TINY},seed={seed},precision=fp32") for seed in (0, 1))
    encoder.load_state_dict(encoder.state_dict())
    with pytest.raises(ConfigError, match="this state is of other weights than random:vit_tiny"):
        encoder.load_state_dict(other.state_dict())


def test_images_are_prepared_in_fp32() -> None:
    pixels = torch.zeros(3, 30, 30, dtype=torch.uint8)
    assert load_encoder(TINY, precision="bf16").preprocess(pixels).dtype == torch.float32


def test_refusals_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'bf16'"):
        load_encoder(f"{TINY},precision=bf61")
    with pytest.raises(ConfigError, match="train=True needs precision=exact"):
        load_encoder(TINY, precision="fp32", train=True)
    frozen = load_encoder(TINY, precision="bf16")
    with pytest.raises(ConfigError, match="is in bf16 already"):
        load_encoder(frozen, precision="fp32")
    assert load_encoder(frozen) is frozen
    with pytest.raises(ConfigError, match="cannot be unfrozen: in precision=bf16"):
        unfrozen(frozen, "mine,precision=bf16")
    with pytest.raises(ConfigError, match="cannot be saved: load it without a precision"):
        frozen.save_pretrained(tmp_path / "folder")  # type: ignore[operator]
    assert not (tmp_path / "folder").exists()
    with pytest.raises(TypeError, match="images must be a tensor"):
        frozen("a.jpg")
    with pytest.raises(ConfigError, match="has no gradients"):
        frozen(torch.zeros(1, 3, 28, 28, requires_grad=True))
    pytest.importorskip("timm")
    with pytest.raises(ConfigError, match="a TimmMap is not one of codistill's own"):
        load_encoder("timm:resnet10t,pretrained=false", precision="bf16")


@pytest.mark.parametrize("faster", [True, False])
def test_auto_is_bf16_where_that_is_faster(faster: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn_precision, "bf16_is_faster", lambda: faster)
    wanted = "bf16" if faster else "fp32"
    assert precision.chosen("auto", "cpu") == load_encoder(TINY, precision="auto").precision == wanted
    assert precision.chosen("auto", "cuda") == "bf16"

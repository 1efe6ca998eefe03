"""What tensors do not say: asked for, said by metadata, a known name or a hash; then right, beside timm's own pass."""

import argparse
import json
import logging
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from codistill.encoders.load import load_encoder
from codistill.errors import CheckpointError, ConfigError
from codistill.nn.vit import ViTConfig
from codistill.weights import layout_vit
from codistill.weights.known import KNOWN
from codistill.weights.layouts import read_encoder_weights
from codistill.weights.stated import Stated
from codistill.weights.vit import expected_shapes

timm = pytest.importorskip("timm")
VisionTransformer = timm.models.vision_transformer.VisionTransformer


def network(dim: int, heads: int, **options: object) -> torch.nn.Module:
    torch.manual_seed(0)
    sizes = {"img_size": 64, "patch_size": 16, "depth": 2, "num_classes": 0, "dynamic_img_size": True}
    model = VisionTransformer(embed_dim=dim, num_heads=heads, **{**sizes, **options}).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def file_of(model: torch.nn.Module, folder: Path, **entries: object) -> Path:
    torch.save({"model": model.state_dict(), **entries}, folder / "weights.pth")
    return folder / "weights.pth"


IMAGENET = "mean=imagenet,std=imagenet"


@pytest.mark.parametrize(
    ("dim", "heads", "options", "said"),
    [
        (192, 3, {}, f"like=timm,num_heads=3,{IMAGENET}"),
        (160, 2, {}, f"like=timm,num_heads=2,{IMAGENET}"),
        (144, 2, {"act_layer": "gelu_tanh"}, f"like=timm,num_heads=2,activation=gelu_tanh,{IMAGENET}"),
        (128, 4, {"act_layer": "quick_gelu"}, f"like=timm,num_heads=4,activation=quick_gelu,{IMAGENET}"),
        (
            96,
            4,
            {"init_values": 0.1, "norm_layer": partial(torch.nn.LayerNorm, eps=1e-2)},
            f"like=timm,num_heads=4,norm_eps=0.01,{IMAGENET}",
        ),
        (128, 8, {"class_token": False, "global_pool": "avg"}, f"like=timm,num_heads=8,{IMAGENET}"),
    ],
)
@torch.no_grad()
def test_a_plain_transformer_is_asked_about_and_then_right_at_every_size(
    tmp_path, dim: int, heads: int, options: dict, said: str
) -> None:
    model = network(dim, heads, **options)
    if not options.get("class_token", True):
        model.fc_norm, model.norm = torch.nn.Identity(), torch.nn.LayerNorm(dim, eps=1e-6)
    file = file_of(model, tmp_path)
    with pytest.raises(CheckpointError, match=rf"{dim} wide.* num_heads, mean, std, norm_eps, activation"):
        load_encoder(file)
    encoder = load_encoder(f"{file},{said}")
    for size in ((64, 64), (32, 32), (80, 112)):
        images = torch.randn(1, 3, *size)
        expected = model.forward_features(images)
        assert torch.allclose(encoder(images).patches, expected[:, -size[0] * size[1] // 256 :], atol=1e-4)


@pytest.mark.parametrize("prefix", ["backbone.", "encoder."])
def test_a_plain_transformer_under_a_prefix_is_asked_about_too(tmp_path, prefix: str) -> None:
    """DINOv2's training and DUNE's students use these prefixes, and so do others."""
    state = {f"{prefix}{name}": tensor for name, tensor in network(384, 6).state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "mine.ckpt")
    with pytest.raises(CheckpointError, match=r"384 wide.* give its num_heads, mean, std, norm_eps"):
        load_encoder(tmp_path / "mine.ckpt")
    assert load_encoder(f"{tmp_path}/mine.ckpt,like=timm,num_heads=3,mean=0.5,std=0.5").config.num_heads == 3  # type: ignore[attr-defined]
    torch.save({"state_dict": state}, tmp_path / "dinov2_vits14.pth")
    weights = read_encoder_weights(tmp_path / "dinov2_vits14.pth")
    assert (weights.config.position_offset, weights.licence) == (0.1, "Apache-2.0")


def test_what_is_still_open_is_named(tmp_path) -> None:
    file = file_of(network(320, 4), tmp_path)
    with pytest.raises(CheckpointError, match=r"give its mean, std; wrong values"):
        load_encoder(f"{file},like=timm,num_heads=4")
    with pytest.raises(CheckpointError, match=r"give its num_heads; wrong values"):
        load_encoder(file, like="mae")
    with pytest.raises(ConfigError, match="Did you mean 'dinov2'"):
        load_encoder(f"{file},like=dinov3")
    with pytest.raises(ConfigError, match="quick_gelu"):
        load_encoder(f"{file},activation=relu")
    with pytest.raises(CheckpointError, match="3 heads do not divide the width 320"):
        load_encoder(f"{file},like=dinov2,num_heads=3")


FACTS = {"num_heads": 4, "mean": [0.5, 0.4, 0.3], "std": [0.1, 0.2, 0.3], "hidden_act": "gelu_pytorch_tanh"}
FACTS |= {"layer_norm_eps": 1e-5, "position_offset": 0.0, "position_antialias": True}


@pytest.mark.parametrize("place", ["header", "json in the header", "entries", "args", "dictionary"])
def test_the_file_s_own_metadata_says_it(tmp_path, place: str) -> None:
    model = network(160, 4)
    if "header" in place:
        texts = {
            key: json.dumps(value) if key != "hidden_act" else str(value) for key, value in FACTS.items()
        }
        header = texts if place == "header" else {"config": json.dumps(FACTS)}
        file = tmp_path / "weights.safetensors"
        save_file(model.state_dict(), file, metadata=header)
    else:
        inside = {"args": argparse.Namespace(**FACTS), "config": FACTS}
        more = FACTS if place == "entries" else dict([list(inside.items())[place == "dictionary"]])
        file = file_of(model, tmp_path, **more)
    weights = read_encoder_weights(file)
    config = weights.config
    assert (config.num_heads, config.activation, config.norm_eps) == (4, "gelu_tanh", 1e-5)
    assert (weights.mean, weights.std) == ((0.5, 0.4, 0.3), (0.1, 0.2, 0.3))
    assert read_encoder_weights(file, num_heads=2).config.num_heads == 2  # the caller goes first


@pytest.mark.parametrize(
    ("dim", "name"), [(192, "vit_tiny"), (384, "deit_small"), (1280, "mae_vit_huge_patch14")]
)
def test_heads_of_an_architecture_that_the_file_names(tmp_path, dim: int, name: str) -> None:
    model = network(dim, 1, depth=1)
    args = argparse.Namespace(arch=name if "vit" in name else f"{name}_vit")
    weights = read_encoder_weights(
        file_of(model, tmp_path, args=args), stated=Stated(like="timm", mean=(0.5,) * 3, std=(0.5,) * 3)
    )
    assert weights.config.num_heads == {192: 3, 384: 6, 1280: 16}[dim]


def dinov2_small(**options: object) -> dict[str, torch.Tensor]:
    config = ViTConfig(dim=384, depth=12, num_heads=6, image_size=28, hidden=8, **options)  # type: ignore[arg-type]
    return {name: torch.zeros(shape) for name, shape in expected_shapes(config).items()}


def test_what_was_trained_on_from_dinov2_loads_and_says_what_it_is_taken_for(tmp_path, caplog) -> None:
    torch.save(dinov2_small(num_registers=4), tmp_path / "mine.pth")
    with caplog.at_level(logging.WARNING, "codistill"):
        weights = read_encoder_weights(tmp_path / "mine.pth")
    assert (weights.config.num_heads, weights.config.position_antialias) == (6, True)
    assert "assumed to be a dinov2_reg encoder" in caplog.text and "mine.pth,like=NAME" in caplog.text
    caplog.clear()
    read_encoder_weights(tmp_path / "mine.pth", stated=Stated(like="dinov2_reg"))
    torch.save(dinov2_small(), tmp_path / "dinov2_vits14_fp16.pth")
    read_encoder_weights(tmp_path / "dinov2_vits14_fp16.pth")
    assert not caplog.records
    tensors = dinov2_small()
    del tensors["mask_token"]
    torch.save(tensors, tmp_path / "mine.pth")
    with pytest.raises(CheckpointError, match="plain vision transformer"):
        read_encoder_weights(tmp_path / "mine.pth")


def test_a_copy_of_a_known_file_is_known_by_its_hash(tmp_path, monkeypatch, caplog) -> None:
    torch.save(dinov2_small(), tmp_path / "copy.pth")
    monkeypatch.setattr(layout_vit, "file_sha256", lambda _: KNOWN["dinov2_vits14"].sha256)
    weights = read_encoder_weights(tmp_path / "copy.pth")
    assert (weights.name, weights.licence) == ("dinov2_vits14", "Apache-2.0") and not caplog.records


def test_a_known_name_decides_the_family_whatever_the_layout(tmp_path) -> None:
    """A DUNE encoder without chunks is still DUNE's; its positions are resized by factor."""
    torch.save(dinov2_small(num_registers=4), tmp_path / "dune_vitsmall14_336.pth")
    assert read_encoder_weights(tmp_path / "dune_vitsmall14_336.pth").config.position_offset == 0.1


@pytest.mark.parametrize(("name", "registers"), [("dinov2_vits14", 4), ("dinov2_vits14_reg4_pretrain", 0)])
def test_a_known_name_that_the_registers_contradict_is_refused(tmp_path, name: str, registers: int) -> None:
    """The two families resize positions differently."""
    torch.save(dinov2_small(num_registers=registers), tmp_path / f"{name}.pth")
    with pytest.raises(
        CheckpointError, match=r"is called dinov2_vits14.* registers, and holds (some|none)\."
    ):
        read_encoder_weights(tmp_path / f"{name}.pth")
    assert read_encoder_weights(tmp_path / f"{name}.pth", stated=Stated(like="dinov2")).config.position_offset


def test_nothing_can_be_said_of_what_says_all_itself(tmp_path) -> None:
    from codistill.weights.export import write_export

    torch.save(dinov2_small(), tmp_path / "dinov2_vits14.pth")
    write_export(tmp_path / "export", read_encoder_weights(tmp_path / "dinov2_vits14.pth"))
    for place in ("export", "export/encoder.safetensors"):
        with pytest.raises(ConfigError, match=r"num_heads cannot be given.*has its own"):
            load_encoder(f"{tmp_path / place},num_heads=3")
    with pytest.raises(ConfigError, match="summary cannot be given"):
        load_encoder(tmp_path / "dinov2_vits14.pth", summary="pooled")


@pytest.mark.parametrize(("dim", "said"), [(128, True), (384, False)])
def test_heads_that_a_layout_implies_are_said_at_other_widths(tmp_path, caplog, dim: int, said: bool) -> None:
    config = ViTConfig(dim=dim, depth=1, num_heads=1, image_size=28, hidden=8)
    state = {
        f"backbone.encoder.{name}": torch.zeros(shape) for name, shape in expected_shapes(config).items()
    }
    torch.save({"model_state_dict": state}, tmp_path / "hmr.pt")
    assert read_encoder_weights(tmp_path / "hmr.pt").config.num_heads == dim // 64
    assert ("hmr.pt,num_heads=N" in caplog.text) == said
    caplog.clear()
    assert read_encoder_weights(tmp_path / "hmr.pt", num_heads=4).config.num_heads == 4 and not caplog.text

"""`load_encoder`: published outputs reproduced, every kind of text understood, every mistake explained."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from codistill.encoders import load
from codistill.encoders.base import Encoder
from codistill.encoders.load import load_encoder
from codistill.encoders.options import split_options
from codistill.encoders.registry import register_encoder
from codistill.errors import CheckpointError, CodistillError, ConfigError
from codistill.student.load import load_any_student, load_student
from codistill.weights.export import write_export
from codistill.weights.known import KNOWN
from codistill.weights.layouts import read_weights
from shared_files import GOLDEN, needs_golden, weights

TOLERANCE = 5e-6


def difference(ours: Tensor | None, expected: Tensor) -> float:
    assert ours is not None and ours.shape == expected.shape
    return float((ours - expected).abs().max() / expected.abs().max())


@needs_golden
def test_released_student_reproduces_the_published_outputs() -> None:
    encoder = load_encoder(GOLDEN / "dune_nano_released_layout.pth")
    golden = load_file(GOLDEN / "dune_nano_forward.safetensors")
    sizes = [name.removeprefix("image_") for name in golden if name.startswith("image_")]
    assert len(sizes) > 1  # one of them is not the native grid
    with torch.inference_mode():
        for size in sizes:
            images = golden[f"image_{size}"]
            for state, norm in (("norm", True), ("nonorm", False)):
                tokens = encoder(images, norm=norm)
                for kind, found in (
                    ("cls", tokens.cls),
                    ("reg", tokens.registers),
                    ("patch", tokens.patches),
                ):
                    assert difference(found, golden[f"encoder_{size}_{state}_{kind}"]) < TOLERANCE
            for i, tokens in enumerate(encoder.intermediate(images, blocks=[-2, -1])):
                assert difference(tokens.cls, golden[f"intermediate_{size}_last2_{i}_cls"]) < TOLERANCE
                assert (
                    difference(tokens.feature_map(), golden[f"intermediate_{size}_last2_{i}_patch_chw"])
                    < TOLERANCE
                )


@needs_golden
def test_mast3r_encoder_reproduces_the_published_tokens() -> None:
    encoder = load_encoder(GOLDEN / "mast3r_nano_released_layout.pth")
    golden = load_file(GOLDEN / "mast3r_nano_forward.safetensors")
    pairs = [name.removesuffix("/image1") for name in golden if name.endswith("/image1")]
    assert pairs and encoder.spec.mean == (0.5, 0.5, 0.5)
    with torch.inference_mode():
        for pair in pairs:
            tokens = encoder.encode(golden[f"{pair}/image1"])
            assert difference(tokens.patches, golden[f"{pair}/encoder_tokens_image1"]) < TOLERANCE


@needs_golden
def test_multihmr_backbone_reproduces_the_published_tokens() -> None:
    file = GOLDEN / "multihmr_nano_released_layout.pt"
    golden = load_file(GOLDEN / "multihmr_nano_forward.safetensors")
    with torch.inference_mode():
        for encoder in (load_encoder(file, num_heads=3), load_encoder(f"{file},num_heads=3")):
            assert difference(encoder(golden["image"]).patches, golden["backbone_tokens"]) < TOLERANCE
    with pytest.raises(CheckpointError, match=r"width 96 .* num_heads"):
        load_encoder(file)


@needs_golden
def test_image_size_resizes_the_positions_as_the_second_stage_does() -> None:
    golden = load_file(GOLDEN / "dune_nano_forward.safetensors")
    name = next(name for name in golden if name.startswith("pos_embed_resized_to_"))
    side = int(name.rpartition("_")[2])
    encoder = load_encoder(GOLDEN / "dune_nano_released_layout.pth", image_size=side * 14)
    assert encoder.spec.image_size == side * 14
    assert difference(encoder.state_dict()["pos_embed"], golden[name]) < TOLERANCE


def test_real_dinov2_is_found_by_name_in_the_users_folder(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("CODISTILL_CACHE", str(tmp_path))
    monkeypatch.setenv("CODISTILL_OFFLINE", "1")
    monkeypatch.setenv("CODISTILL_WEIGHTS", str(weights().parent))
    encoder = load_encoder("dinov2_vits14")
    assert (encoder.spec.name, encoder.spec.licence, encoder.spec.image_size) == (
        "dinov2_vits14",
        "Apache-2.0",
        518,
    )
    assert {parameter.dtype for parameter in encoder.parameters()} == {torch.float32}
    assert not encoder.training


def tiny() -> Encoder:
    return load_encoder("random:vit_tiny,depth=1,dim=64,num_heads=1,image_size=28")


def test_a_file_under_the_name_of_another_size_is_refused(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("CODISTILL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CODISTILL_OFFLINE", "1")
    monkeypatch.setenv("CODISTILL_WEIGHTS", str(tmp_path))
    for name in ("dinov2_vitl14", "mast3r_vitlarge_16"):
        path = tmp_path / f"{name}.safetensors"
        save_file(tiny().state_dict(), path, metadata={"license": "MIT", "like": "dinov2"})
        said = rf"{name}\.safetensors: holds a network of 1 blocks of width 64; {name} has 24 of width 1024"
        with pytest.raises(CheckpointError, match=said):
            load_encoder(name)
        assert load_encoder(path).spec.dim == 64
    assert {known.size_name for known in KNOWN.values()} == {
        f"vit_{size}" for size in ("small", "base", "large", "giant")
    }


def test_a_file_and_its_export_load_bit_for_bit(tmp_path) -> None:
    original = tiny()
    save_file(
        original.state_dict(), tmp_path / "mine.safetensors", metadata={"license": "MIT", "like": "dinov2"}
    )
    weights = read_weights(tmp_path / "mine.safetensors")
    write_export(tmp_path / "export", weights)
    for place in ("mine.safetensors", "export", "export/encoder.safetensors"):
        loaded = load_encoder(tmp_path / place)
        assert not any(p.requires_grad or p.is_meta or not p.is_contiguous() for p in loaded.parameters())
        assert loaded.spec.licence == "MIT" and loaded.spec.name == "mine"
        for name, tensor in original.state_dict().items():
            assert torch.equal(loaded.state_dict()[name], tensor), name


def test_a_path_with_commas_is_a_path(tmp_path) -> None:
    save_file(tiny().state_dict(), tmp_path / "lr=1,wd=2")
    assert load_encoder(tmp_path / "lr=1,wd=2", like="dinov2").spec.dim == 64
    assert load_encoder(f"{tmp_path}/lr=1,wd=2,like=dinov2,num_heads=2").config.num_heads == 2


def test_weights_are_copied_out_of_the_file(tmp_path) -> None:
    """The encoder goes on working when its file is overwritten."""
    original = tiny()
    file = tmp_path / "mine.safetensors"
    save_file(original.state_dict(), file)
    loaded = load_encoder(file, like="dinov2")
    file.write_bytes(b"\0" * file.stat().st_size)
    assert torch.equal(loaded.state_dict()["pos_embed"], original.state_dict()["pos_embed"])


def test_half_precision_files_are_computed_in_full_precision(tmp_path) -> None:
    original = tiny()
    save_file(
        {name: tensor.half() for name, tensor in original.state_dict().items()}, tmp_path / "half.safetensors"
    )
    loaded = load_encoder(tmp_path / "half.safetensors", like="dinov2")
    assert loaded(torch.zeros(1, 3, 28, 28)).patches.dtype == torch.float32


def test_an_encoder_comes_back_as_it_is() -> None:
    encoder = tiny()
    assert load_encoder(encoder) is encoder


def test_an_encoder_takes_no_options_without_effect() -> None:
    encoder = tiny().requires_grad_(False)
    with pytest.raises(ConfigError, match="image_size=112, window=2 cannot be given for random"):
        load_encoder(encoder, image_size=112, window=2)
    assert load_encoder(encoder, train=True) is encoder
    assert all(parameter.requires_grad for parameter in encoder.parameters())
    for frozen, precision in ((encoder, "fp32"), (load_encoder(encoder, precision="fp32"), None)):
        with pytest.raises(ConfigError, match="train=True needs an encoder with gradients"):
            load_encoder(frozen, precision=precision, train=True)
    assert next(load_encoder(tiny(), device="meta").parameters()).is_meta


def test_options_follow_after_commas() -> None:
    assert split_options("a.pt,num_heads=3,image_size=448") == ("a.pt", {"num_heads": 3, "image_size": 448})
    assert split_options("file.pt,num_heads=3") == ("file.pt", {"num_heads": 3})
    assert split_options("with,comma.pt") == ("with,comma.pt", {})
    with pytest.raises(ConfigError, match="num_heads"):
        split_options("file.pt,heads=3")
    with pytest.raises(ConfigError, match="whole number"):
        split_options("file.pt,num_heads=-1")


@pytest.mark.parametrize(
    ("what", "error", "said"),
    [
        ("dinov2_vits15", ConfigError, r"Did you mean 'dinov2_vits14'.*timm:…, hf:…"),
        ("nowhere/encoder.pth", CheckpointError, r"nowhere/encoder\.pth: no such file"),
        ("", ConfigError, "give a file, a folder or a name"),
        ("dunemast3r_vitbase", ConfigError, "two-view decoder"),
        ("random:vit_tiny", ConfigError, "num_heads=3 cannot be given for random:"),
    ],
)
def test_mistakes_are_explained(what: str, error: type[CodistillError], said: str) -> None:
    with pytest.raises(error, match=said):
        load_encoder(what, num_heads=3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("dim=48,dim=96", "option dim is given twice"),
        ("num_global=2", "num_global would have no effect without window=N"),
    ],
)
def test_options_of_a_random_encoder_without_effect_are_refused(options: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_encoder(f"random:vit_tiny,{options}")


def test_a_restricted_licence_is_said_once(monkeypatch, tmp_path, caplog) -> None:
    monkeypatch.setattr(load, "_TOLD", set())
    save_file(tiny().state_dict(), tmp_path / "dune_vitsmall_14_448.safetensors")
    for _ in range(2):
        load_encoder(tmp_path / "dune_vitsmall_14_448.safetensors")
    said = [record.getMessage() for record in caplog.records if record.name == "codistill"]
    assert len(said) == 1 and "non-commercial" in said[0] and "https://" in said[0]


def test_a_loaded_encoder_is_frozen_unless_training_is_asked_for(tmp_path) -> None:
    images = torch.zeros(1, 3, 28, 28)
    save_file(tiny().state_dict(), tmp_path / "mine.safetensors", metadata={"like": "dinov2"})
    register_encoder("mine", tiny_trainable, replace=True)
    for what in ("random:vit_tiny,depth=1,dim=64,num_heads=1", tmp_path / "mine.safetensors", "mine"):
        frozen = load_encoder(what)
        assert not frozen.training and not any(p.requires_grad for p in frozen.parameters())
        frozen(images).patches.numpy()
        frozen.intermediate(images, [0])[0].cls.numpy()
        assert load_encoder(what, train=True)(images).patches.requires_grad
    wanted = images.requires_grad_()  # gradients of the images themselves are still to be had
    load_encoder(tmp_path / "mine.safetensors")(wanted).patches.sum().backward()
    assert wanted.grad is not None


def tiny_trainable() -> Encoder:
    return tiny().requires_grad_(True)


@needs_golden
def test_a_loaded_student_is_frozen_unless_training_is_asked_for() -> None:
    file = str(GOLDEN / "dune_nano_released_layout.pth")
    student = load_student(file)
    tokens = student.encoder(student.encoder.preprocess(torch.zeros(56, 56), size=56), norm=False)
    student.project(tokens, student.targets[0].name).patches.numpy()
    assert all(p.requires_grad for p in load_student(file, train=True).encoder.blocks.parameters())
    assert all(p.requires_grad for p in load_any_student(file).encoder.blocks.parameters())
    assert load_student(f"{file},image_size=112").encoder.spec.image_size == 112


def test_options_say_what_they_take() -> None:
    assert split_options("a.pt,mean=0.5,std=0.1/0.2/0.3,position_antialias=false")[1] == {
        "mean": (0.5, 0.5, 0.5),
        "std": (0.1, 0.2, 0.3),
        "position_antialias": False,
    }
    for text, said in (
        ("mean=0.5/0.5", "three numbers.*imagenet"),
        ("std=0", "three numbers"),
        ("position_antialias=1", "true or false"),
        ("norm_eps=-1", "0 or more"),
        ("num_heads=2,num_heads=3", "given twice"),
    ):
        with pytest.raises(ConfigError, match=said):
            split_options(f"a.pt,{text}")
    for wrong in ({"mean": (0.5, 0.5)}, {"num_heads": 0}, {"norm_eps": "x"}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            load_encoder("dinov2_vits14", **wrong)


@pytest.mark.parametrize("images", ["a.jpg", np.zeros((1, 3, 28, 28), np.float32)])
def test_what_is_no_tensor_goes_through_preprocess(images: object) -> None:
    with pytest.raises(TypeError, match=r"must be a tensor .* got (str|ndarray)\. encoder\.preprocess"):
        load_encoder("random:vit_tiny,dim=24,depth=1,num_heads=2")(images)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_images_of_any_precision_are_converted_to_the_networks(dtype: torch.dtype) -> None:
    encoder = load_encoder("random:vit_tiny,dim=24,depth=1,num_heads=2")
    images = torch.rand(1, 3, 28, 28).to(dtype)
    assert torch.equal(encoder(images).patches, encoder(images.float()).patches)
    assert torch.equal(encoder.intermediate(images, [0])[0].cls, encoder(images.float()).cls)
    assert encoder.to(dtype)(images.float()).patches.dtype == dtype


def test_images_without_pixels_are_refused() -> None:
    encoder = load_encoder("random:vit_tiny,dim=24,depth=1,num_heads=2")
    with pytest.raises(ValueError, match=r"multiples of the patch size 14; got 0x28.* resize to 14x28"):
        encoder(torch.zeros(1, 3, 0, 28))


def test_blocks_are_whole_numbers_of_any_kind() -> None:
    encoder, images = load_encoder("random:vit_tiny,dim=24,depth=2,num_heads=2"), torch.zeros(1, 3, 28, 28)
    wanted = encoder.intermediate(images, [0, -1])
    for blocks in (torch.tensor([0, -1]), np.array([0, -1]), iter([0, -1])):
        found = encoder.intermediate(images, blocks)  # type: ignore[arg-type]
        assert [torch.equal(a.patches, b.patches) for a, b in zip(found, wanted, strict=True)] == [True, True]
    for blocks in (None, [0.5], ["1"], 1):
        with pytest.raises(ValueError, match="blocks are a list of numbers"):
            encoder.intermediate(images, blocks)  # type: ignore[arg-type]

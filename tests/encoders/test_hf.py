"""`hf:` encoders against transformers' own outputs, from folders written by save_pretrained."""

import json
import sys

import pytest
import torch

from codistill.encoders.load import load_encoder
from codistill.errors import CheckpointError, ConfigError, MissingExtraError

transformers = pytest.importorskip("transformers")

VIT = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 3, "image_size": 56}


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(2, 3, 56, 84, generator=torch.Generator().manual_seed(0))


def saved(model, folder) -> str:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    model.eval().save_pretrained(folder)
    return f"hf:{folder}"


def test_registers_blocks_and_both_norm_states(tmp_path, images) -> None:
    config = transformers.Dinov2WithRegistersConfig(**VIT, patch_size=14, num_register_tokens=2)
    model = transformers.Dinov2WithRegistersModel(config)
    encoder = load_encoder(saved(model, tmp_path))
    spec = encoder.spec
    assert (spec.dim, spec.patch_size, spec.depth, spec.has_cls, spec.num_registers) == (48, 14, 3, True, 2)
    inputs: list[torch.Tensor] = []
    model.layernorm.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    with torch.inference_mode():
        expected = model(pixel_values=images).last_hidden_state
        tokens, bare = encoder(images), encoder(images, norm=False)
        blocks = encoder.intermediate(images, blocks=[0, -1], norm=False)
    assert tokens.grid == (4, 6)
    for found, whole in ((tokens, expected), (bare, inputs[0]), (blocks[1], inputs[0])):
        joined = torch.cat((found.cls[:, None], found.registers, found.patches), dim=1)
        assert torch.allclose(joined, whole, atol=1e-5)
    assert not torch.allclose(blocks[0].patches, blocks[1].patches)
    with pytest.raises(ValueError, match="0 to 2"):
        encoder.intermediate(images, blocks=[3])


def test_normalization_and_licence_come_from_the_folder(tmp_path, images) -> None:
    model = transformers.ViTModel(transformers.ViTConfig(**VIT, patch_size=14, intermediate_size=96))
    text = saved(model, tmp_path)
    said = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.5, 0.5]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(said))
    (tmp_path / "README.md").write_text("---\nlicense: cc-by-4.0\ntags: [x]\n---\n# A model\n")
    encoder = load_encoder(text)
    assert encoder.spec.licence == "cc-by-4.0" and encoder.spec.std == (0.25, 0.5, 0.5)
    mean, std = (
        torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1),
        torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1),
    )
    pixels = (images * std + mean - 0.5) / torch.tensor(said["image_std"]).view(3, 1, 1)
    with torch.inference_mode():
        expected = model(pixel_values=pixels, interpolate_pos_encoding=True).last_hidden_state
        tokens = encoder(images)
    assert torch.allclose(torch.cat((tokens.cls[:, None], tokens.patches), dim=1), expected, atol=1e-5)


def test_a_convolutional_network_gives_its_map(tmp_path) -> None:
    config = transformers.ConvNextConfig(hidden_sizes=[8, 12, 16, 20], depths=[1, 1, 1, 1], image_size=64)
    model = transformers.ConvNextModel(config)
    encoder = load_encoder(saved(model, tmp_path))
    images = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        expected = model(pixel_values=images).last_hidden_state
        tokens = encoder(images)
    assert encoder.spec.patch_size == 32 and tokens.grid == (2, 3) and tokens.cls is None
    assert torch.allclose(tokens.feature_map(), expected, atol=1e-5)
    with pytest.raises(NotImplementedError):
        encoder.intermediate(images, blocks=[0])


def test_what_is_no_vision_model_is_refused(tmp_path) -> None:
    with pytest.raises(CheckpointError, match="save_pretrained"):
        load_encoder(f"hf:{tmp_path}")
    config = transformers.BertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=1, intermediate_size=16, vocab_size=20
    )
    transformers.BertModel(config).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="takes no images"):
        load_encoder(f"hf:{tmp_path}")


def test_a_damaged_file_is_reported(tmp_path) -> None:
    text = saved(transformers.Dinov2Model(transformers.Dinov2Config(**VIT, patch_size=14)), tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(CheckpointError, match=str(tmp_path)):
        load_encoder(text)
    (tmp_path / "model.safetensors.index.json").write_text("[]")
    weights.unlink()
    with pytest.raises(CheckpointError, match="transformers cannot load it"):
        load_encoder(text)


def test_weights_that_would_stay_random_are_refused(tmp_path) -> None:
    config = transformers.ViTConfig(**VIT, patch_size=14, intermediate_size=96)
    text = saved(transformers.ViTForImageClassification(config), tmp_path)
    assert load_encoder(text).spec.has_cls
    with pytest.raises(CheckpointError, match=r"lack 2 tensors.*pooler.*Leave out summary="):
        load_encoder(f"{text},summary=pooled")
    said = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**said, "intermediate_size": 97}))
    with pytest.raises(CheckpointError, match="9 tensors of its files have other shapes than its config"):
        load_encoder(text)


def test_weights_that_are_not_finite_and_no_name_are_refused(tmp_path) -> None:
    model = transformers.Dinov2Model(transformers.Dinov2Config(**VIT, patch_size=14))
    with torch.no_grad():
        next(model.encoder.parameters())[0] = torch.nan
    with pytest.raises(CheckpointError, match=r"'encoder\.layer\.0\..* holds values that are not finite"):
        load_encoder(saved(model, tmp_path))
    for text in ("hf:", "hf:  "):
        with pytest.raises(ConfigError, match="hf: names no model"):
            load_encoder(text)


def test_the_extra_is_named_when_transformers_is_missing(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'codistill\[hf\]'"):
        load_encoder("hf:facebook/dinov2-small")

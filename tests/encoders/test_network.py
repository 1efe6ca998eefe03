"""Convolutional students' encoders against timm's own forward passes, with random weights."""

import pytest
import torch

from codistill.encoders.load import encoder_from_weights, load_encoder
from codistill.encoders.network import NetworkEncoder, fresh_network, network_stride, running_statistics
from codistill.errors import CheckpointError, ConfigError
from codistill.nn.network import NetworkConfig
from codistill.weights.contents import EncoderWeights

timm = pytest.importorskip("timm")

NETWORKS = {  # width and stride of each, by its own `feature_info`
    "test_convnext": 32,
    "test_efficientnet": 32,
    "test_resnet": 32,
    "fastvit_t8": 32,  # attention in its last stage: a hybrid
}


@pytest.mark.parametrize("name", NETWORKS)
def test_tokens_are_the_last_map_and_its_mean(name: str) -> None:
    torch.manual_seed(0)
    encoder = fresh_network(f"timm:{name}", 64).eval()
    assert encoder.spec.patch_size == encoder.config.patch_size == NETWORKS[name]
    assert encoder.spec.patch_size == network_stride(f"timm:{name}")
    assert (
        encoder.spec.dim == timm.create_model(name, num_classes=0).num_features or name == "test_efficientnet"
    )
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        features = encoder.model.forward_features(images)
        tokens = encoder(images, norm=False)
    assert torch.equal(tokens.feature_map(), features) and tokens.grid == (2, 3) and not tokens.normed
    torch.testing.assert_close(tokens.cls, features.mean((2, 3)))
    assert torch.equal(encoder.apply_norm(tokens).patches, encoder(images).patches)
    ((patches, cls),) = encoder.get_intermediate_layers(images, n=1, return_class_token=True)  # as DINOv2's
    assert torch.equal(patches, tokens.patches) and torch.equal(cls, tokens.cls)
    with pytest.raises(ValueError, match="gives its last map alone"):
        encoder.intermediate(images, [1])
    with pytest.raises(ValueError, match=r"blocks are a list of numbers, such as \[-1\]; got 1"):
        encoder.intermediate(images, 1)  # type: ignore[arg-type]


def test_what_no_token_depends_on_is_named() -> None:
    encoder = fresh_network("timm:test_convnext", 64)
    assert encoder.unused_parameters() == ["model.head.norm.weight", "model.head.norm.bias"]
    frozen = encoder.requires_grad_(False).train()
    assert not frozen.training and not frozen.model.training
    assert encoder.requires_grad_(True).train().model.training


def test_batch_norms_statistics_are_found() -> None:
    encoder = fresh_network("timm:test_resnet", 64)
    count = sum(isinstance(part, torch.nn.BatchNorm2d) for part in encoder.modules())
    assert len(running_statistics(encoder)) == 2 * count > 0
    assert not running_statistics(fresh_network("timm:test_convnext", 64))


def test_weights_come_back_and_others_are_refused() -> None:
    encoder = fresh_network("timm:test_resnet", 64).eval()
    weights = encoder.weights()
    again = encoder_from_weights(weights)
    images = torch.randn(1, 3, 64, 64)
    assert torch.equal(again(images).patches, encoder.requires_grad_(False)(images).patches)
    assert again.architecture() == encoder.architecture()
    few = EncoderWeights(config=weights.config, tensors={}, layout="", name="few")
    with pytest.raises(CheckpointError, match="few: its tensors are not those of timm's test_resnet"):
        encoder_from_weights(few)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("resnet18", "student.network must be timm:NAME"),
        ("timm:test_vit", "timm:test_vit is a vision transformer"),
        ("timm:resnet8", r"Unknown timm model 'resnet8'.*resnet18"),
        ("timm:test_resnet,summary=cls", "Unknown option"),
    ],
)
def test_what_cannot_be_a_student_is_refused(text: str, error: str) -> None:
    with pytest.raises(ConfigError, match=error):
        fresh_network(text, 64)


def test_other_sizes_than_the_files_are_refused() -> None:
    with pytest.raises(ConfigError, match="image_size 56 is not a multiple of the 32 pixels per token"):
        NetworkConfig(model="test_convnext", dim=64, patch_size=32, image_size=56)
    model = fresh_network("timm:test_convnext", 64).model
    wide = NetworkConfig(model="test_convnext", dim=65, patch_size=32, image_size=64)
    with pytest.raises(ConfigError, match="64 channels and has 32 pixels per token; 65 and 32 were expected"):
        NetworkEncoder(wide, model)


def test_a_network_saved_for_the_hub_is_loaded(tmp_path) -> None:
    encoder = fresh_network("timm:test_convnext", 64).eval().requires_grad_(False)
    encoder.save_pretrained(tmp_path / "folder")
    images = torch.randn(1, 3, 64, 64)
    assert torch.equal(load_encoder(tmp_path / "folder")(images).cls, encoder(images).cls)

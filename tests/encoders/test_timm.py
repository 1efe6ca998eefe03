"""`timm:` encoders against timm's own forward passes, with random weights."""

import sys

import pytest
import torch

from codistill.encoders.load import load_encoder
from codistill.encoders.timm import TimmMap, TimmViT
from codistill.errors import CheckpointError, ConfigError, MissingExtraError

timm = pytest.importorskip("timm")


VisionTransformer = timm.models.vision_transformer.VisionTransformer
TINY = {"img_size": 56, "patch_size": 14, "embed_dim": 32, "depth": 3, "num_heads": 2}


def tiny_registers(**options: object):
    """As timm's DINOv2 with registers, small."""
    return VisionTransformer(**TINY, reg_tokens=2, no_embed_class=True, init_values=1.0, **options)


def tiny_no_cls(**options: object):
    """As timm's SigLIP, small."""
    return VisionTransformer(**TINY, class_token=False, global_pool="map", **options)


def tiny_swin(**options: object):
    """A network whose maps are channels-last and whose image size is fixed."""
    options.pop("dynamic_img_size", None)
    return timm.models.swin_transformer.SwinTransformer(
        img_size=56,
        patch_size=2,
        window_size=7,
        embed_dim=8,
        depths=(1, 1, 1),
        num_heads=(1, 2, 2),
        **options,
    )


@pytest.fixture(autouse=True)
def tiny_models(monkeypatch) -> None:
    """Small stand-ins under names that timm's own `create_model` and `is_model` know."""
    makers = {"tiny_registers": tiny_registers, "tiny_no_cls": tiny_no_cls, "tiny_swin": tiny_swin}
    create, is_model = timm.create_model, timm.is_model

    def create_model(name: str, pretrained: bool, **options: object):
        if name not in makers:
            return create(name, pretrained=pretrained, **options)
        model = makers[name](**options)
        model.pretrained_cfg = {
            "input_size": (3, 56, 56),
            "mean": (0.5,) * 3,
            "std": (0.25,) * 3,
            "license": "mit",
        }
        return model

    monkeypatch.setattr(timm, "create_model", create_model)
    monkeypatch.setattr(timm, "is_model", lambda name: name in makers or is_model(name))


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(2, 3, 56, 112, generator=torch.Generator().manual_seed(0))


def own_pixels(encoder, images: torch.Tensor) -> torch.Tensor:
    """ImageNet-normalized images in the encoder's normalization, by the definition."""
    shape = (1, 3, 1, 1)
    pixels = images * torch.tensor([0.229, 0.224, 0.225]).view(shape) + torch.tensor(
        [0.485, 0.456, 0.406]
    ).view(shape)
    return (pixels - torch.tensor(encoder.spec.mean).view(shape)) / torch.tensor(encoder.spec.std).view(shape)


def test_a_vit_with_registers_at_another_size(images) -> None:
    encoder = load_encoder("timm:tiny_registers,pretrained=false")
    assert isinstance(encoder, TimmViT)
    spec = encoder.spec
    assert (spec.dim, spec.depth, spec.patch_size, spec.num_registers, spec.has_cls) == (32, 3, 14, 2, True)
    assert (spec.image_size, spec.mean, spec.licence) == (56, (0.5, 0.5, 0.5), "none (random weights)")
    with torch.inference_mode():
        tokens, bare = encoder(images), encoder(images, norm=False)
        expected = encoder.model.forward_features(own_pixels(encoder, images))
        last, first = encoder.intermediate(images, blocks=[-1, 0])
        assert tokens.grid == (4, 8)
        joined = torch.cat((tokens.cls[:, None], tokens.registers, tokens.patches), 1)
        assert torch.allclose(joined, expected, atol=1e-5)
        assert torch.allclose(encoder.model.norm(bare.patches), tokens.patches, atol=1e-5)
        assert torch.equal(last.patches, tokens.patches) and not torch.allclose(first.patches, last.patches)
    with pytest.raises(ValueError, match="0 to 2"):
        encoder.intermediate(images, blocks=[3])


def test_a_vit_without_class_token(images) -> None:
    encoder = load_encoder("timm:tiny_no_cls,pretrained=true")
    assert not encoder.spec.has_cls and encoder.spec.licence == "mit"
    with torch.inference_mode():
        tokens = encoder(images)
        expected = encoder.model.forward_features(own_pixels(encoder, images))
    assert tokens.cls is None and tokens.registers is None
    assert torch.allclose(tokens.patches, expected, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv3_small_050"])
def test_a_convolutional_network_gives_its_last_map(name: str) -> None:
    encoder = load_encoder(f"timm:{name},pretrained=false")
    assert isinstance(encoder, TimmMap) and encoder.spec.patch_size == 32
    images = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        tokens = encoder(images)
        expected = encoder.model.forward_features(own_pixels(encoder, images))
    assert tokens.grid == (2, 3) and tokens.patches.shape[-1] == encoder.spec.dim == expected.shape[1]
    assert torch.allclose(tokens.feature_map(), expected, atol=1e-5)
    with pytest.raises(NotImplementedError, match=name):
        encoder.intermediate(images, blocks=[0])


def test_channels_last_maps_and_fixed_sizes_are_recognized(images) -> None:
    encoder = load_encoder("timm:tiny_swin,pretrained=false")
    square = images[..., :56]
    with torch.inference_mode():
        expected = encoder.model.forward_features(own_pixels(encoder, square))
        tokens = encoder(square)
    assert (encoder.spec.dim, encoder.spec.patch_size) == (32, 8)
    assert torch.allclose(tokens.feature_map(), expected.permute(0, 3, 1, 2), atol=1e-5)
    with pytest.raises(
        ConfigError, match=r"tiny_swin does not take images of 56x112 .* Resize them to 56x56"
    ):
        encoder(images)


def test_mistakes_are_explained() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'resnet18'"):
        load_encoder("timm:resnet19")
    with pytest.raises(ConfigError, match="pretrained=false"):
        load_encoder("timm:resnet18,pretrained=no")


def test_offline_is_respected(monkeypatch) -> None:
    """Nothing is fetched: the hub client looks into its own (here empty) cache and says so."""
    constants = pytest.importorskip("huggingface_hub").constants
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("CODISTILL_OFFLINE", "1")
    monkeypatch.setattr("timm.create_model", _as_if_uncached)
    with pytest.raises(CheckpointError, match="pretrained=false"):
        load_encoder("timm:resnet18")
    assert constants.HF_HUB_OFFLINE


def _as_if_uncached(name: str, **_: object) -> None:
    raise FileNotFoundError(f"no local copy of {name}")


def test_the_extra_is_named_when_timm_is_missing(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'codistill\[timm\]'"):
        load_encoder("timm:resnet18,pretrained=false")

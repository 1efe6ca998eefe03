"""DINOv2's and timm's methods: against timm's own on the same network, and in heads that were written for them."""

import pytest
import torch
from torch import Tensor, nn

from codistill.encoders.load import load_encoder
from codistill.encoders.registry import FunctionEncoder
from codistill.encoders.vit import ViTEncoder
from codistill.errors import ConfigError
from codistill.nn.dpt import DptConfig, DptHead
from codistill.types import EncoderSpec

ENCODER = "random:vit_tiny,dim=24,depth=4,num_heads=2,image_size=56,num_registers=2"
IMAGES = torch.randn(2, 3, 56, 84, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def encoder() -> ViTEncoder:
    found = load_encoder(ENCODER)
    assert isinstance(found, ViTEncoder)
    return found


def test_timms_methods_give_what_timm_gives() -> None:
    """A timm model under our names, beside the model itself."""
    pytest.importorskip("timm", reason="needs the extra `timm`")
    ours = load_encoder("timm:vit_tiny_patch16_224,pretrained=false")
    theirs = ours.model.eval()
    images = torch.randn(1, 3, 64, 96)
    own = ours.own_normalization(images)
    torch.testing.assert_close(ours.forward_features(images), theirs.forward_features(own))
    assert [block["num_chs"] for block in ours.feature_info] == [192] * 12
    mine = [{**b} for b in ours.feature_info]
    assert mine == [
        {key: block[key] for key in ("module", "num_chs", "reduction")} for block in theirs.feature_info
    ]
    for options in (
        {"indices": 2},
        {"indices": [1, -1], "norm": True},
        {"indices": [0, 5], "output_fmt": "NLC", "return_prefix_tokens": True},
    ):
        last, found = ours.forward_intermediates(images, **options)
        wanted_last, wanted = theirs.forward_intermediates(own, **options)
        torch.testing.assert_close(last, wanted_last)
        torch.testing.assert_close(found, wanted)
    only = ours.forward_intermediates(images, 3, intermediates_only=True, stop_early=True)
    assert len(only) == 3 and only[0].shape == (1, 192, 4, 6)


def test_dinov2s_method_gives_the_last_blocks(encoder: ViTEncoder) -> None:
    levels = encoder.intermediate(IMAGES, (2, 3))
    maps = encoder.get_intermediate_layers(IMAGES, n=2, reshape=True, return_class_token=True)
    assert len(maps) == 2
    for (found, cls), level in zip(maps, levels, strict=True):
        assert found.shape == (2, 24, 4, 6)
        assert torch.equal(found.flatten(2).transpose(1, 2), level.patches) and torch.equal(cls, level.cls)
    (patches,) = encoder.get_intermediate_layers(IMAGES, n=[1], norm=False)
    assert torch.equal(patches, encoder.intermediate(IMAGES, [1], norm=False)[0].patches)


def test_all_tokens_stand_in_the_order_of_dinov2(encoder: ViTEncoder) -> None:
    tokens = encoder(IMAGES)
    found = encoder.forward_features(IMAGES)
    assert found.shape == (2, 1 + 2 + 24, 24)
    assert torch.equal(found[:, 0], tokens.cls) and torch.equal(found[:, 1:3], tokens.registers)
    assert (encoder.embed_dim, encoder.num_features, encoder.patch_size) == (24, 24, 14)


def test_what_an_encoder_has_not_is_said(encoder: ViTEncoder) -> None:
    spec = EncoderSpec(name="conv", dim=4, patch_size=4, has_cls=False)
    conv = FunctionEncoder(spec, nn.Conv2d(3, 4, 4, stride=4))
    assert conv.feature_info == [] and conv.forward_features(IMAGES).shape == (2, 14 * 21, 4)
    with pytest.raises(ConfigError, match="conv has no class token"):
        conv.get_intermediate_layers(IMAGES, return_class_token=True)
    with pytest.raises(ConfigError, match="has 4 blocks; the last 5"):
        encoder.get_intermediate_layers(IMAGES, n=5)
    with pytest.raises(ConfigError, match="NCHW or NLC"):
        encoder.forward_intermediates(IMAGES, output_fmt="NHWC")
    with pytest.raises(ConfigError, match="intermediates_only"):
        encoder.forward_intermediates(IMAGES, stop_early=True)


class LinearSegmenter(nn.Module):
    """A decode head as mmsegmentation has it: maps of a backbone, resized, concatenated, one convolution."""

    def __init__(self, channels: int, levels: int, classes: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels * levels)
        self.conv_seg = nn.Conv2d(channels * levels, classes, 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        size = maps[0].shape[-2:]
        resized = [
            nn.functional.interpolate(m, size=size, mode="bilinear", align_corners=False) for m in maps
        ]
        return self.conv_seg(self.bn(torch.cat(resized, dim=1)))


def test_a_segmentation_head_takes_the_encoder_for_its_backbone(encoder: ViTEncoder) -> None:
    head = LinearSegmenter(encoder.embed_dim, levels=2, classes=5)
    maps = encoder.get_intermediate_layers(IMAGES, n=2, reshape=True)
    head(list(maps)).square().mean().backward()
    assert head.conv_seg.weight.grad is not None and head(list(maps)).shape == (2, 5, 4, 6)


def test_a_dpt_takes_the_encoder_for_its_backbone(encoder: ViTEncoder) -> None:
    width = encoder.num_features
    sizes = {"level_dims": (8, 8, 8, 8), "fusion_dim": 8, "middle_dim": 8, "last_dim": 8, "out_channels": 1}
    dpt = DptHead(DptConfig(token_dims=(width,) * 4, patch_size=encoder.patch_size, **sizes))
    levels = encoder.forward_intermediates(IMAGES, 4, output_fmt="NLC", intermediates_only=True)
    assert dpt(levels, (4, 6)).shape == (2, 1, 56, 84)


def test_a_detector_of_anomalies_takes_the_encoder_for_its_backbone(encoder: ViTEncoder) -> None:
    """As PatchCore: the distance of each patch to the nearest of good images'; a changed corner stands out."""
    good = torch.zeros(3, 3, 56, 56) + torch.linspace(-1, 1, 56)
    bank = encoder.get_intermediate_layers(good, n=1)[0].flatten(0, 1)  # (patch, channel)
    bad = good[:1].clone()
    bad[..., 42:, :14] = 3.0 * torch.randn(1, 3, 14, 14, generator=torch.Generator().manual_seed(0))
    distance = torch.cdist(encoder.get_intermediate_layers(bad, n=1)[0][0], bank).min(dim=1).values
    assert int(distance.argmax()) == 3 * 4  # last row, first column

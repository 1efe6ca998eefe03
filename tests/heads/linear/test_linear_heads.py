import pytest
import torch
from torch.nn.functional import interpolate

from codistill.errors import ConfigError
from codistill.heads.linear.depth import DepthHead, DepthHeadConfig, depth_input, depth_of_scores
from codistill.heads.linear.segmentation import SegmentationHead, SegmentationHeadConfig
from codistill.types import Tokens


def test_the_segmentation_head_is_batch_norm_then_a_matrix():
    torch.manual_seed(0)
    head = SegmentationHead(SegmentationHeadConfig(channels=5, num_classes=3))
    features = torch.randn(2, 5, 4, 6) * 3 + 1
    flat = features.permute(0, 2, 3, 1).reshape(-1, 5)
    normal = (flat - flat.mean(0)) / (flat.var(0, correction=0) + 1e-5).sqrt()
    expected = normal @ head.conv_seg.weight[:, :, 0, 0].T
    found = head(features).permute(0, 2, 3, 1).reshape(-1, 3)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    assert head.conv_seg.weight.std() < 0.05 and not head.conv_seg.bias.any()


def test_running_statistics_are_saved_and_used():
    torch.manual_seed(0)
    config = SegmentationHeadConfig(channels=5, num_classes=3)
    head = SegmentationHead(config)
    features = torch.randn(4, 5, 8, 8) * 3 + 1
    for _ in range(3):
        trained = head(features)
    other = SegmentationHead(config)
    other.load_state_dict(head.state_dict())
    torch.testing.assert_close(other.eval()(features), head.eval()(features))
    assert not torch.allclose(other(features), trained)
    expected = 0.1 * (1 + 0.9 + 0.81) * features.mean((0, 2, 3))
    torch.testing.assert_close(other.bn.running_mean, expected)


def test_it_stays_in_fp32_under_autocast():
    head = SegmentationHead(SegmentationHeadConfig(channels=4, num_classes=2))
    with torch.autocast("cpu", torch.bfloat16):
        assert head(torch.randn(1, 4, 2, 2).bfloat16()).dtype == torch.float32
        assert DepthHead(DepthHeadConfig(channels=4))(torch.randn(1, 4, 2, 2)).dtype == torch.float32


def test_depth_of_scores_has_the_published_values():
    assert depth_of_scores(torch.zeros(1, 256), torch.linspace(1e-3, 10, 256), 1).item() == pytest.approx(
        5.0005002, abs=1e-6
    )
    bins = torch.linspace(1e-3, 10, 4)
    found = depth_of_scores(torch.tensor([[-1.0, 0.0, 1.0, 2.0]]), bins, 1)
    assert found.item() == pytest.approx(8.431528, abs=1e-5)
    half = depth_of_scores(torch.tensor([[-1.0, 0.0, 1.0, 2.0]], dtype=torch.bfloat16), bins, 1)
    assert half.dtype == torch.float32 and half.item() == pytest.approx(8.431528, abs=1e-5)


def test_convolving_before_resizing_gives_the_protocol_s_numbers():
    torch.manual_seed(0)
    head = DepthHead(DepthHeadConfig(channels=6, bins=16))
    with torch.no_grad():
        head.conv_depth.weight.normal_()
    features = torch.randn(2, 6, 3, 5)
    resized = interpolate(features, scale_factor=4, mode="bilinear", align_corners=False)
    expected = depth_of_scores(head.conv_depth(resized), head.centres, 1)[:, None]
    found = head(features)
    assert found.shape == (2, 1, 12, 20)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert list(head.state_dict()) == ["conv_depth.weight", "conv_depth.bias"]


def test_depth_input_repeats_each_level_s_own_class_token():
    first = Tokens(torch.randn(2, 6, 4), (2, 3), torch.randn(2, 4))
    second = Tokens(torch.randn(2, 6, 4), (2, 3), torch.randn(2, 4))
    assert first.cls is not None and second.cls is not None
    found = depth_input([first, second])
    assert found.shape == (2, 16, 2, 3)
    torch.testing.assert_close(found[:, :4, 1, 0], first.patches[:, 3])
    torch.testing.assert_close(found[:, 4:8, 0, 2], first.cls)
    torch.testing.assert_close(found[:, 12:, 1, 1], second.cls)
    assert depth_input([Tokens(torch.randn(2, 6, 4), (2, 3))]).shape == (2, 4, 2, 3)


def test_impossible_heads_say_so():
    with pytest.raises(ConfigError, match="2 to 255 classes"):
        SegmentationHeadConfig(channels=4, num_classes=256)
    with pytest.raises(ConfigError, match="0 < nearest < farthest"):
        DepthHeadConfig(channels=4, nearest=0.0)

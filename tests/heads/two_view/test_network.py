"""The two-view head: shapes, symmetry of the branches, symmetrized pairs, precision, what it refuses.

Its numbers are checked against recorded ones of the published implementation in tests/verify/test_two_view.py.
"""

from dataclasses import replace

import pytest
import torch

from codistill.errors import ConfigError
from codistill.heads.two_view.network import TwoViewConfig, TwoViewHead, ViewPrediction
from codistill.types import Tokens
from two_view_toys import CONFIG, tokens


def make_head(config: TwoViewConfig = CONFIG, seed: int = 0) -> TwoViewHead:
    torch.manual_seed(seed)
    return TwoViewHead(config).eval()


def assert_same(first: ViewPrediction, second: ViewPrediction) -> None:
    for name in ("points", "confidence", "descriptors", "descriptor_confidence"):
        torch.testing.assert_close(getattr(first, name), getattr(second, name))


@pytest.mark.parametrize("patch", [14, 16, 8])
@pytest.mark.parametrize(
    ("grid1", "grid2"), [((4, 4), (4, 4)), ((3, 5), (3, 5)), ((3, 5), (5, 3)), ((2, 7), (4, 1))]
)
def test_a_value_per_pixel_of_each_view(patch: int, grid1: tuple[int, int], grid2: tuple[int, int]) -> None:
    predictions = make_head(replace(CONFIG, patch_size=patch))(tokens(grid1), tokens(grid2, seed=1))
    for prediction, (rows, columns) in zip(predictions, (grid1, grid2), strict=True):
        size = (2, rows * patch, columns * patch)
        assert prediction.points.shape == (*size, 3)
        assert prediction.descriptors is not None and prediction.descriptor_confidence is not None
        assert prediction.descriptors.shape == (*size, 5)
        assert prediction.confidence.shape == prediction.descriptor_confidence.shape == size
        assert (prediction.confidence >= 1).all() and (prediction.descriptor_confidence > 0).all()


@pytest.mark.parametrize("depth", [1, 2, 3, 5, 8])
def test_any_depth(depth: int) -> None:
    config = replace(CONFIG, depth=depth)
    assert config.dense_layers == (0, depth // 2, 3 * depth // 4, depth)
    make_head(config)(tokens((2, 3)), tokens((2, 3)))


def test_equal_branches_make_the_pair_symmetric() -> None:
    head = make_head()
    head.blocks2.load_state_dict(head.blocks1.state_dict())
    head.heads[1].load_state_dict(head.heads[0].state_dict())
    a, b = tokens((3, 4)), tokens((2, 5), seed=1)
    (first_ab, second_ab), (first_ba, second_ba) = head(a, b), head(b, a)
    assert_same(first_ab, second_ba)
    assert_same(second_ab, first_ba)


def test_the_branches_see_each_other_layer_by_layer() -> None:
    """Simultaneous update: with one layer, view 1 depends on view 2's embedding, not on its updated tokens."""
    head = make_head(replace(CONFIG, depth=1))
    a, b = tokens((2, 2)), tokens((2, 2), seed=1)
    before = head(a, b)
    with torch.no_grad():
        for parameter in head.blocks2.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    after = head(a, b)
    assert_same(before[0], after[0])
    assert not torch.allclose(before[1].points, after[1].points)


def test_samples_of_a_batch_are_independent() -> None:
    head = make_head()
    a, b = tokens((3, 4), batch=3), tokens((2, 5), batch=3, seed=1)
    whole = head(a, b)
    order = [2, 0, 1]
    shuffled = head(replace(a, patches=a.patches[order]), replace(b, patches=b.patches[order]))
    for x, y in zip(whole, shuffled, strict=True):
        torch.testing.assert_close(x.points[order], y.points)


def test_heads_stay_in_fp32_under_autocast() -> None:
    head = make_head()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        first, second = head(tokens((2, 3)), tokens((2, 3), seed=1))
    for prediction in (first, second):
        assert prediction.points.dtype == torch.float32
        assert prediction.descriptors is not None
        torch.testing.assert_close(prediction.descriptors.norm(dim=-1), torch.ones(2, 28, 42))


def test_every_parameter_takes_part_and_gradients_reach_the_tokens() -> None:
    head = make_head().train()
    a, b = tokens((3, 4)), tokens((2, 5), seed=1)
    a.patches.requires_grad_()
    total = torch.zeros(())
    for prediction in head(a, b):
        assert prediction.descriptors is not None and prediction.descriptor_confidence is not None
        total = total + prediction.points.sum() + prediction.confidence.log().sum()
        total = total + prediction.descriptors[..., 0].sum() + prediction.descriptor_confidence.log().sum()
    total.backward()
    assert [name for name, p in head.named_parameters() if p.grad is None or not p.grad.any()] == []
    assert a.patches.grad is not None and a.patches.grad.any()


def test_without_descriptors_and_with_one_confidence() -> None:
    plain = make_head(replace(CONFIG, descriptor_dim=0))(tokens((2, 2)), tokens((2, 2)))[0]
    assert plain.descriptors is None and plain.descriptor_confidence is None
    shared = make_head(replace(CONFIG, own_descriptor_confidence=False))(tokens((2, 2)), tokens((2, 2)))[0]
    assert shared.descriptor_confidence is shared.confidence


def test_the_wrong_norm_state_is_refused_both_ways() -> None:
    with pytest.raises(ValueError, match=r"view 2: this decoder takes un-normed tokens.*norm=False"):
        make_head()(tokens((2, 2)), tokens((2, 2), normed=True))
    with pytest.raises(ValueError, match=r"view 1: this decoder takes normed tokens.*norm=True"):
        make_head(replace(CONFIG, fresh_norm=False))(tokens((2, 2)), tokens((2, 2)))


def test_wrong_widths_and_batches_are_refused() -> None:
    with pytest.raises(ValueError, match="encoder of 24 channels; the tokens have 12"):
        make_head()(Tokens(torch.randn(2, 4, 12), (2, 2), normed=False), tokens((2, 2)))
    with pytest.raises(ValueError, match="as many images each; got 2 and 3"):
        make_head()(tokens((2, 2)), tokens((2, 2), batch=3))
    with pytest.raises(ConfigError, match=r"decoder dim 18 over 3 heads"):
        replace(CONFIG, dim=18, num_heads=3)

import pytest
import torch
from safetensors.torch import save_file
from torch.nn.functional import cross_entropy, interpolate

from codistill.errors import CheckpointError
from codistill.heads.linear.batched import DepthHeads, SegmentationHeads
from codistill.heads.linear.depth import DepthHead, DepthHeadConfig
from codistill.heads.linear.losses import pixel_cross_entropy
from codistill.heads.linear.released import read_linear_head, released_tensors
from codistill.heads.linear.sampling import corners_of, features_at
from codistill.heads.linear.segmentation import SegmentationHead, SegmentationHeadConfig


@pytest.mark.parametrize(("source", "target"), [((3, 5), (42, 70)), ((37, 37), (512, 512)), ((4, 4), (3, 9))])
def test_features_at_every_pixel_are_the_resized_map(source, target):
    torch.manual_seed(0)
    tokens = torch.randn(2, source[0] * source[1], 3)
    rows, columns = torch.meshgrid(torch.arange(target[0]), torch.arange(target[1]), indexing="ij")
    corners = corners_of(rows.flatten().expand(2, -1), columns.flatten().expand(2, -1), source, target)
    maps = tokens.transpose(1, 2).reshape(2, 3, *source)
    expected = interpolate(maps, size=target, mode="bilinear", align_corners=False)
    found = features_at(tokens, corners).transpose(1, 2).reshape(expected.shape)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def all_pixels(tokens: torch.Tensor, source: tuple[int, int], target: tuple[int, int]) -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.arange(target[0]), torch.arange(target[1]), indexing="ij")
    shape = (tokens.shape[0], target[0] * target[1])
    corners = corners_of(rows.flatten().expand(shape), columns.flatten().expand(shape), source, target)
    return features_at(tokens, corners).flatten(0, 1)


def test_many_segmentation_heads_train_as_each_one_alone():
    """Scores, loss and gradients of two heads in one product equal the protocol's head on the whole map."""
    torch.manual_seed(0)
    config = SegmentationHeadConfig(channels=6, num_classes=4)
    heads = SegmentationHeads(config, 2)
    with torch.no_grad():
        for p in heads.parameters():
            p.add_(torch.randn_like(p))
    singles = [heads.pick(index).train() for index in range(2)]
    tokens, labels = torch.randn(3, 12, 6) * 2 + 1, torch.randint(0, 4, (3, 9, 8))
    scores = heads(all_pixels(tokens, (3, 4), (9, 8)), *heads.statistics(tokens))
    for index, single in enumerate(singles):
        loss = cross_entropy(scores[index], labels.flatten())
        loss.backward(retain_graph=True)
        expected = pixel_cross_entropy(single(tokens.transpose(1, 2).reshape(3, 6, 3, 4)), labels)
        expected.backward()
        assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
        torch.testing.assert_close(
            heads.weight.grad[index], single.conv_seg.weight.grad[:, :, 0, 0], rtol=1e-3, atol=1e-6
        )
        torch.testing.assert_close(heads.gain.grad[index], single.bn.weight.grad, rtol=1e-3, atol=1e-6)
        torch.testing.assert_close(heads.shift.grad[index], single.bn.bias.grad, rtol=1e-3, atol=1e-6)
        torch.testing.assert_close(heads.running_var, single.bn.running_var)
        torch.testing.assert_close(heads.running_mean, single.bn.running_mean)


def test_a_picked_head_says_what_it_said_among_the_others():
    torch.manual_seed(1)
    heads = SegmentationHeads(SegmentationHeadConfig(channels=6, num_classes=4), 3)
    with torch.no_grad():
        for p in heads.parameters():
            p.add_(torch.randn_like(p))
    tokens = torch.randn(1, 12, 6)
    heads.statistics(tokens)
    expected = heads(tokens.flatten(0, 1))[2]
    picked = heads.pick(2)(tokens.transpose(1, 2).reshape(1, 6, 3, 4))
    torch.testing.assert_close(picked.flatten(2)[0].T, expected, rtol=1e-4, atol=1e-5)
    depth = DepthHeads(DepthHeadConfig(channels=6, bins=8), 3)
    with torch.no_grad():
        for p in depth.parameters():
            p.add_(torch.randn_like(p))
    one = depth.pick(1)(tokens.transpose(1, 2).reshape(1, 6, 3, 4))
    expected = depth(all_pixels(tokens, (3, 4), (12, 16)))[1]
    torch.testing.assert_close(one.flatten(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_released_files_round_trip_with_their_key_names(tmp_path, suffix):
    torch.manual_seed(0)
    segmentation = SegmentationHead(SegmentationHeadConfig(channels=8, num_classes=5))
    segmentation(torch.randn(2, 8, 3, 3))
    depth = DepthHead(DepthHeadConfig(channels=16))
    expected = {
        "decode_head.bn.weight": (8,),
        "decode_head.bn.bias": (8,),
        "decode_head.bn.running_mean": (8,),
        "decode_head.bn.running_var": (8,),
        "decode_head.bn.num_batches_tracked": (),
        "decode_head.conv_seg.weight": (5, 8, 1, 1),
        "decode_head.conv_seg.bias": (5,),
    }
    assert {n: tuple(t.shape) for n, t in released_tensors(segmentation).items()} == expected
    for head in (segmentation, depth):
        path = tmp_path / f"head{suffix}"
        tensors = {n: t.detach().clone() for n, t in released_tensors(head).items()}
        if suffix == ".pth":
            torch.save({"meta": {"CLASSES": ("a", "b")}, "state_dict": tensors}, path)
        else:
            save_file(tensors, path)
        read = read_linear_head(path)
        assert type(read) is type(head) and not read.training
        features = torch.randn(1, head.config.channels, 3, 3)
        torch.testing.assert_close(read(features), head.eval()(features))


def test_the_depth_range_is_nyu_s_unless_said_otherwise(tmp_path):
    path = tmp_path / "nyu_linear_head.pth"
    torch.save(
        {
            "decode_head.conv_depth.weight": torch.zeros(256, 8, 1, 1),
            "decode_head.conv_depth.bias": torch.zeros(256),
        },
        path,
    )
    features = torch.randn(1, 8, 2, 2)
    assert read_linear_head(path)(features).mean().item() == pytest.approx(5.0005002, abs=1e-5)
    assert read_linear_head(path, farthest=80.0)(features).mean().item() == pytest.approx(40.0005, abs=1e-4)


def test_other_files_are_told_what_they_lack(tmp_path):
    path = tmp_path / "other.pth"
    torch.save({"decode_head.project.weight": torch.zeros(3, 3)}, path)
    with pytest.raises(CheckpointError, match="holds no linear head"):
        read_linear_head(path)
    torch.save({"decode_head.conv_seg.weight": torch.zeros(5, 8, 1, 1)}, path)
    with pytest.raises(CheckpointError, match=r"missing keys: decode_head\.bn\.weight \(8,\)"):
        read_linear_head(path)

import math

import pytest
import torch
from safetensors.torch import save_file
from torch.nn.functional import interpolate, normalize

from codistill.errors import CheckpointError, ConfigError
from codistill.heads.linear.batched import NormalsHeads
from codistill.heads.linear.depth import DepthHead
from codistill.heads.linear.normals import NormalsHead, NormalsHeadConfig, normals_loss, normals_of_scores
from codistill.heads.linear.released import read_head_of, read_linear_head, released_tensors
from codistill.heads.linear.sampling import corners_of, features_at


def test_the_loss_is_a_distribution_over_directions():
    """exp(-loss) / (2 pi) integrates to 1 over the sphere, whatever the concentration."""
    theta = torch.linspace(0, math.pi, 20_001, dtype=torch.float64)
    truth = torch.stack((theta.sin(), torch.zeros_like(theta), -theta.cos()), dim=-1)
    for raw in (-3.0, 0.0, 2.0):
        scores = torch.tensor([0.0, 0.0, -2.0, raw]).expand(len(theta), 4)
        losses = normals_loss(scores[:, None], truth[:, None], dim=(1,)).double()
        kappa = (raw if raw > 0 else math.exp(raw) - 1) + 1.01
        assert normals_of_scores(scores)[1][0].item() == pytest.approx(kappa, rel=1e-6)
        density = torch.exp(-losses) / (2 * math.pi)
        mass = torch.trapezoid(density * 2 * math.pi * theta.sin(), theta)
        assert mass.item() == pytest.approx(1.0, rel=1e-3)


def test_the_loss_equals_its_formula_and_leaves_out_what_is_unknown():
    torch.manual_seed(0)
    scores, truth = torch.randn(3, 5, 4), normalize(torch.randn(3, 5, 3), dim=-1)
    truth[0, 1] = truth[2] = 0.0
    expected = []
    for s, t in zip(scores.reshape(-1, 4).tolist(), truth.reshape(-1, 3).tolist(), strict=True):
        if t == [0.0, 0.0, 0.0]:
            continue
        length = math.sqrt(sum(x * x for x in s[:3]))
        theta = math.acos(sum(a * b for a, b in zip(s[:3], t, strict=True)) / length)
        k = (s[3] if s[3] > 0 else math.exp(s[3]) - 1) + 1.01
        expected.append(math.log(1 + math.exp(-math.pi * k)) - math.log(1 + k * k) + k * theta)
    assert len(expected) == 9
    assert normals_loss(scores, truth).item() == pytest.approx(sum(expected) / 9, rel=1e-4)
    by_row = normals_loss(scores, truth, dim=(1,))
    assert by_row[0].item() == pytest.approx(sum(expected[:4]) / 4, rel=1e-4) and by_row[2] == 0.0


def test_gradients_are_finite_where_the_angle_has_none():
    ahead = torch.tensor([0.0, 0.0, -1.0])
    cases = {
        "exact": (torch.tensor([0.0, 0.0, -2.0, 1.0]), ahead),
        "opposite": (torch.tensor([0.0, 0.0, 2.0, 1.0]), ahead),
        "no direction": (torch.zeros(4), ahead),
        "nothing at all": (torch.zeros(4), torch.zeros(3)),
    }
    for name, (scores, truth) in cases.items():
        scores = scores.clone().requires_grad_()
        normals_loss(scores[None], truth[None]).backward()
        assert scores.grad is not None and scores.grad.isfinite().all(), name
        if name in ("exact", "nothing at all"):
            assert (scores.grad[:3] == 0).all(), name
    torch.manual_seed(1)
    free = torch.randn(4, 4, requires_grad=True)
    truth = normalize(torch.randn(4, 3), dim=-1)
    normals_loss(free, truth).backward()
    assert free.grad is not None
    step = torch.zeros_like(free)
    step[1, 2] = 1e-2
    with torch.no_grad():
        slope = (normals_loss(free + step, truth) - normals_loss(free - step, truth)) / 2e-2
    assert slope.item() == pytest.approx(free.grad[1, 2].item(), rel=1e-2)


def test_many_heads_train_as_each_one_alone():
    torch.manual_seed(0)
    heads = NormalsHeads(NormalsHeadConfig(channels=6), 2)
    with torch.no_grad():
        for p in heads.parameters():
            p.add_(torch.randn_like(p))
    tokens, truth = torch.randn(2, 12, 6), normalize(torch.randn(2, 9, 8, 3), dim=-1)
    rows, columns = torch.meshgrid(torch.arange(9), torch.arange(8), indexing="ij")
    corners = corners_of(rows.flatten().expand(2, -1), columns.flatten().expand(2, -1), (3, 4), (9, 8))
    scores = heads(features_at(tokens, corners).flatten(0, 1))
    for index in range(2):
        single = heads.pick(index)
        loss = normals_loss(scores[index].unflatten(0, (2, 72)), truth.flatten(1, 2))
        maps = single(tokens.transpose(1, 2).reshape(2, 6, 3, 4))
        maps = interpolate(maps, size=(9, 8), mode="bilinear", align_corners=False)
        expected = normals_loss(maps.movedim(1, -1), truth)
        assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
        loss.backward(retain_graph=True)
        expected.backward()
        assert heads.weight.grad is not None and single.conv_normals.weight.grad is not None
        torch.testing.assert_close(
            heads.weight.grad[index], single.conv_normals.weight.grad[:, :, 0, 0], rtol=1e-3, atol=1e-6
        )


def test_heads_lie_in_files_like_the_others_and_are_not_taken_for_them(tmp_path):
    head = NormalsHead(NormalsHeadConfig(channels=8))
    tensors = {name: tensor.detach().clone() for name, tensor in released_tensors(head).items()}
    assert {name: tuple(t.shape) for name, t in tensors.items()} == {
        "decode_head.conv_normals.weight": (4, 8, 1, 1),
        "decode_head.conv_normals.bias": (4,),
    }
    path = tmp_path / "head.safetensors"
    save_file(tensors, path)
    read = read_head_of(NormalsHead, path)
    features = torch.randn(1, 8, 2, 3)
    torch.testing.assert_close(read(features), head(features))
    assert isinstance(read_linear_head(path), NormalsHead)
    with pytest.raises(CheckpointError, match="holds a head for normals, not one for depth"):
        read_head_of(DepthHead, path)
    with pytest.raises(ConfigError, match="channels >= 1"):
        NormalsHeadConfig(channels=0)

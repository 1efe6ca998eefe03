"""Two-view losses against loops over pixels, recorded numbers, invariances, edges and gradients."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from codistill.errors import ConfigError
from codistill.geometry.poses import pose_matrix, quaternion_to_matrix
from codistill.heads.two_view.losses import (
    TwoViewLossConfig,
    ViewTruth,
    info_nce,
    matching_loss,
    mean_distance,
    point_distances,
    regression_loss,
    two_view_loss,
)
from codistill.heads.two_view.network import ViewPrediction

PLAIN, METRIC = TwoViewLossConfig(metric=False), TwoViewLossConfig()


def example(seed: int = 0, batch: int = 3, matches: int = 20) -> tuple[list[ViewPrediction], list[ViewTruth]]:
    """Views of unequal size, in fp32, with sky, invalid pixels and false correspondences."""
    g = torch.Generator().manual_seed(seed)
    predictions, truths = [], []
    matches_valid = torch.rand(batch, matches, generator=g) < 0.6
    for rows, columns in ((5, 7), (6, 4)):
        size = (batch, rows, columns)
        predictions.append(
            ViewPrediction(
                torch.randn(*size, 3, generator=g),
                1 + torch.rand(size, generator=g),
                torch.nn.functional.normalize(torch.randn(*size, 8, generator=g), dim=-1),
                0.1 + torch.rand(size, generator=g),
            )
        )
        quaternion = torch.tensor([1.0, 0, 0, 0]) + 0.3 * torch.randn(batch, 4, generator=g)
        truths.append(
            ViewTruth(
                points=torch.randn(*size, 3, generator=g),
                valid=torch.rand(size, generator=g) < 0.7,
                sky=torch.rand(size, generator=g) < 0.3,
                camera_to_world=pose_matrix(
                    quaternion_to_matrix(quaternion), torch.randn(batch, 3, generator=g)
                ),
                is_metric=torch.tensor([True, False, True])[:batch],
                matches=torch.stack(
                    (
                        torch.randint(columns, (batch, matches), generator=g),
                        torch.randint(rows, (batch, matches), generator=g),
                    ),
                    dim=-1,
                ),
                matches_valid=matches_valid,
            )
        )
    return predictions, truths


def slow_regression(
    predictions: list[ViewPrediction], truths: list[ViewTruth], config: TwoViewLossConfig
) -> dict[str, float]:
    """The confidence-weighted regression loss, pixel by pixel in Python."""
    batch = len(predictions[0].points)
    pixel_losses: list[list[tuple[float, float]]] = [[], []]
    for b in range(batch):
        to_camera1 = torch.linalg.inv(truths[0].camera_to_world[b].double())
        found, wanted = [], []
        for prediction, truth in zip(predictions, truths, strict=True):
            for y, x in truth.valid[b].nonzero().tolist():
                found.append(prediction.points[b, y, x].double())
                wanted.append((to_camera1 @ torch.cat((truth.points[b, y, x].double(), torch.ones(1))))[:3])
        z_true = max(sum(float(p.norm()) for p in wanted) / len(wanted), 1e-8)
        z_pred = max(sum(float(p.norm()) for p in found) / len(found), 1e-8)
        if config.metric and truths[0].is_metric[b]:
            z_pred = z_true
        pairs = iter(zip(found, wanted, strict=True))
        for view, (prediction, truth) in enumerate(zip(predictions, truths, strict=True)):
            known = truth.valid[b].nonzero().tolist()
            for y, x in known:
                p, q = next(pairs)
                p, q = p / z_pred, q / z_true
                if config.log_space:
                    p, q = (v / v.norm() * math.log1p(float(v.norm())) for v in (p, q))
                pixel_losses[view].append((float((p - q).norm()), float(prediction.confidence[b, y, x])))
            for y, x in (truth.sky[b] & ~truth.valid[b]).nonzero().tolist():
                pixel_losses[view].append((2.0, float(prediction.confidence[b, y, x])))
    conf = [sum(c * l - 0.2 * math.log(c) for l, c in losses) / len(losses) for losses in pixel_losses]
    return {
        "loss": sum(conf),
        "conf_loss_1": conf[0],
        "conf_loss2": conf[1],
        "Regr3D_pts3d_1": sum(l for l, _ in pixel_losses[0]) / len(pixel_losses[0]),
        "Regr3D_pts3d_2": sum(l for l, _ in pixel_losses[1]) / len(pixel_losses[1]),
    }


@pytest.mark.parametrize("config", [PLAIN, METRIC, replace(METRIC, log_space=True)])
def test_regression_equals_the_loop_over_pixels(config: TwoViewLossConfig) -> None:
    predictions, truths = example()
    found = regression_loss(*predictions, *truths, config)
    expected = slow_regression(predictions, truths, config)
    assert {"loss", *found.details} == set(expected)
    assert float(found.loss) == pytest.approx(expected["loss"], rel=1e-5)
    for name, value in found.details.items():
        assert float(value) == pytest.approx(expected[name], rel=1e-5), name
        assert not value.requires_grad


def test_recorded_mean_distance() -> None:
    points = torch.arange(12.0).reshape(1, 2, 2, 3)
    everywhere = torch.ones(1, 2, 2, dtype=torch.bool)
    assert float(mean_distance(points, points + 1, everywhere, everywhere)) == pytest.approx(
        10.555227, abs=1e-5
    )


def test_the_scale_of_a_prediction_costs_only_where_the_truth_is_metric() -> None:
    predictions, truths = example()
    scaled = [replace(p, points=3.0 * p.points) for p in predictions]
    plain = point_distances(*predictions, *truths, PLAIN)
    torch.testing.assert_close(point_distances(*scaled, *truths, PLAIN), plain)
    before, after = (point_distances(*p, *truths, METRIC)[0] for p in (predictions, scaled))
    changed = ((before - after).abs() > 1e-4).flatten(1).any(1)
    assert changed.tolist() == truths[0].is_metric.tolist()


def test_the_world_frame_does_not_matter() -> None:
    predictions, truths = example()
    world = pose_matrix(
        quaternion_to_matrix(torch.tensor([0.9, 0.1, -0.4, 0.2])), torch.tensor([3.0, -1.0, 2.0])
    )
    moved = [
        replace(
            t, points=t.points @ world[:3, :3].T + world[:3, 3], camera_to_world=world @ t.camera_to_world
        )
        for t in truths
    ]
    torch.testing.assert_close(
        regression_loss(*predictions, *moved, METRIC).loss,
        regression_loss(*predictions, *truths, METRIC).loss,
    )


def test_a_perfect_prediction_leaves_the_sky_only() -> None:
    predictions, truths = example()
    to_camera1 = torch.linalg.inv(truths[0].camera_to_world)
    perfect = [
        replace(
            p,
            points=torch.einsum("bij,bhwj->bhwi", to_camera1[:, :3, :3], t.points)
            + to_camera1[:, None, None, :3, 3],
        )
        for p, t in zip(predictions, truths, strict=True)
    ]
    for distance, truth in zip(point_distances(*perfect, *truths, METRIC), truths, strict=True):
        sky = truth.sky & ~truth.valid
        assert distance[truth.valid].max() < 1e-5
        assert (distance[sky] == 2.0).all() and not distance[~sky & ~truth.valid].any()


def test_unknown_points_may_hold_anything() -> None:
    predictions, truths = example()
    broken = [
        replace(t, points=torch.where(t.valid[..., None], t.points, torch.tensor(torch.nan))) for t in truths
    ]
    leaves = [replace(p, points=p.points.clone().requires_grad_()) for p in predictions]
    loss = regression_loss(*leaves, *broken, METRIC).loss
    torch.testing.assert_close(loss, regression_loss(*predictions, *truths, METRIC).loss)
    loss.backward()
    for leaf, truth in zip(leaves, truths, strict=True):
        assert leaf.points.grad is not None and torch.isfinite(leaf.points.grad).all()
        assert not leaf.points.grad[~truth.valid].any()


def test_a_view_without_any_known_pixel_contributes_nothing() -> None:
    predictions, truths = example()
    blind = replace(truths[1], valid=torch.zeros_like(truths[1].valid), sky=torch.zeros_like(truths[1].sky))
    found = regression_loss(*predictions, truths[0], blind, METRIC)
    assert float(found.details["conf_loss2"]) == 0.0
    assert torch.equal(found.loss, found.details["conf_loss_1"])
    dark = replace(truths[0], valid=torch.zeros_like(truths[0].valid), sky=torch.zeros_like(truths[0].sky))
    nothing = regression_loss(*predictions, dark, blind, METRIC)
    assert float(nothing.loss) == 0.0


def test_recorded_info_nce() -> None:
    first = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]])
    second = torch.tensor([[[0.8, 0.6], [0.0, 1.0], [1.0, 0.0]]])
    found = info_nce(first, second, 0.05)[0]
    assert found[0].item() == pytest.approx(7.258821, abs=1e-4)
    assert found[1].item() == pytest.approx(0.0184853, abs=1e-5)


def slow_matching(predictions: list[ViewPrediction], truths: list[ViewTruth]) -> dict[str, float]:
    losses, weighted, confidences = [], [], ([], [])
    for b in range(len(truths[0].matches)):
        d, q = [], []
        for prediction, truth, all_q in zip(predictions, truths, confidences, strict=True):
            assert prediction.descriptors is not None and prediction.descriptor_confidence is not None
            at = [(int(y), int(x)) for x, y in truth.matches[b]]
            d.append([prediction.descriptors[b, y, x].double() for y, x in at])
            q.append([float(prediction.descriptor_confidence[b, y, x]) for y, x in at])
            all_q.extend(q[-1])
        similarity = [[math.exp(float(u @ v) / 0.05) for v in d[1]] for u in d[0]]
        for i, valid in enumerate(truths[0].matches_valid[b].tolist()):
            if valid:
                row, column = sum(similarity[i]), sum(r[i] for r in similarity)
                loss = -sum(math.log(max(similarity[i][i] / total, 1e-8)) for total in (row, column))
                quality = 0.5 * (q[0][i] + q[1][i])
                losses.append(loss)
                weighted.append(quality * loss - 10 * math.log(quality))
    return {
        "matching_conf_loss": sum(weighted) / len(weighted),
        "MatchingLoss": sum(losses) / len(losses),
        "Conf1_std": float(torch.tensor(confidences[0]).std()),
        "Conf2_std": float(torch.tensor(confidences[1]).std()),
    }


def test_matching_equals_the_loop_over_correspondences() -> None:
    predictions, truths = example()
    found = matching_loss(*predictions, *truths, METRIC)
    expected = slow_matching(predictions, truths)
    assert set(found.details) == set(expected)
    for name, value in expected.items():
        assert float(found.details[name]) == pytest.approx(value, rel=1e-5), name
    assert float(found.loss) == pytest.approx(expected["matching_conf_loss"], rel=1e-5)


def test_total_is_the_weighted_sum() -> None:
    predictions, truths = example()
    total = two_view_loss(*predictions, *truths, METRIC)
    regression, matching = (f(*predictions, *truths, METRIC) for f in (regression_loss, matching_loss))
    torch.testing.assert_close(total.loss, regression.loss + 0.075 * matching.loss)
    assert set(total.details) == {*regression.details, *matching.details}
    alone = two_view_loss(*predictions, *truths, replace(METRIC, matching_weight=0.0))
    assert torch.equal(alone.loss, regression.loss)


def test_false_correspondences_are_alternatives_but_have_no_loss() -> None:
    """Of one sample: dropping the false ones leaves fewer alternatives, hence larger shares for the true ones."""
    predictions, truths = example(batch=1)
    kept = truths[0].matches_valid[0]
    assert 0 < int(kept.sum()) < len(kept)
    true_only = [
        replace(t, matches=t.matches[:, kept], matches_valid=t.matches_valid[:, kept]) for t in truths
    ]
    all_true = [replace(t, matches_valid=torch.ones_like(t.matches_valid)) for t in truths]
    found = matching_loss(*predictions, *truths, METRIC).details["MatchingLoss"]
    assert found > matching_loss(*predictions, *true_only, METRIC).details["MatchingLoss"]
    assert found != matching_loss(*predictions, *all_true, METRIC).details["MatchingLoss"]


def test_blocks_compare_shuffled_correspondences_among_themselves() -> None:
    predictions, truths = example()
    config = replace(METRIC, block_size=8)
    with pytest.raises(ConfigError, match="20 correspondences are more than block_size=8"):
        matching_loss(*predictions, *truths, config)
    found = matching_loss(*predictions, *truths, config, generator=torch.Generator().manual_seed(4))
    order = torch.randperm(20, generator=torch.Generator().manual_seed(4))
    total, count = 0.0, 0
    for block in (order[:8], order[8:16], order[16:]):
        part = [
            replace(t, matches=t.matches[:, block], matches_valid=t.matches_valid[:, block]) for t in truths
        ]
        valid = int(part[0].matches_valid.sum())
        total += float(matching_loss(*predictions, *part, METRIC).loss) * valid
        count += valid
    assert float(found.loss) == pytest.approx(total / count, rel=1e-5)


def test_the_order_of_samples_does_not_matter() -> None:
    predictions, truths = example()
    order = torch.tensor([2, 0, 1])

    def reordered(item: ViewPrediction | ViewTruth) -> ViewPrediction | ViewTruth:
        return replace(item, **{name: getattr(item, name)[order] for name in item.__dataclass_fields__})

    found = two_view_loss(*(reordered(x) for x in (*predictions, *truths)), METRIC)  # type: ignore[arg-type]
    torch.testing.assert_close(found.loss, two_view_loss(*predictions, *truths, METRIC).loss)


def test_gradients_of_all_outputs() -> None:
    predictions, truths = example(matches=6)
    leaves = [
        tensor.clone().requires_grad_()
        for p in predictions
        for tensor in (p.points, p.confidence, p.descriptors, p.descriptor_confidence)
        if tensor is not None
    ]

    def loss(*tensors: Tensor) -> Tensor:
        views = (ViewPrediction(*tensors[:4]), ViewPrediction(*tensors[4:]))
        return two_view_loss(*views, *truths, METRIC).loss

    loss(*leaves).backward()
    # Central differences in fp32 along one random direction per output.
    generator = torch.Generator().manual_seed(1)
    for leaf in leaves:
        assert leaf.grad is not None
        direction = torch.randn(leaf.shape, generator=generator)
        direction /= direction.norm()
        values = []
        for sign in (1, -1):
            shifted = [x.detach() + sign * 1e-2 * direction if x is leaf else x.detach() for x in leaves]
            values.append(float(loss(*shifted)))
        expected = float((leaf.grad * direction).sum())
        assert (values[0] - values[1]) / 2e-2 == pytest.approx(expected, rel=0.02, abs=2e-3)


def test_fp32_under_autocast() -> None:
    predictions, truths = example()
    reference = two_view_loss(*predictions, *truths, METRIC).loss
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = two_view_loss(*predictions, *truths, METRIC).loss
    assert found.dtype == torch.float32 and torch.equal(found, reference)


def test_errors_say_what_to_do() -> None:
    predictions, truths = example()
    bare = [ViewPrediction(p.points, p.confidence) for p in predictions]
    with pytest.raises(ConfigError, match="descriptor_dim > 0, or set matching_weight=0"):
        two_view_loss(*bare, *truths, METRIC)
    with pytest.raises(ConfigError, match="temperature must be above 0; got 0"):
        TwoViewLossConfig(temperature=0)
    with pytest.raises(ConfigError, match="matching_weight must be 0 or more"):
        TwoViewLossConfig(matching_weight=-1)

"""Losses of the two-view head: pointmap regression, its confidence weighting, descriptor matching, and their sum.

Takes predictions of both views and the ground truth; gives one scalar and detached numbers to log. Everything is a
masked sum of static shape: no boolean indexing, no host synchronization, fp32 under any autocast. The numbers follow
the published training code with its special cases, which are named below.

Source: DUSt3R (arXiv 2312.14132) eq. 2-4, MASt3R (arXiv 2406.09756) eq. 6-12.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from codistill.errors import ConfigError, check_least
from codistill.geometry.poses import invert_pose, transform_points
from codistill.heads.two_view.at_pixels import at_pixels
from codistill.heads.two_view.log_sums import WIDEST, log_sums
from codistill.heads.two_view.network import ViewPrediction
from codistill.nn.precision import full_precision

_MIN_FACTOR = 1e-8
_MIN_LOG_SHARE = math.log(1e-8)
SKY_LOSS = 2.0
"""Regression loss of sky pixels: larger than that of any good prediction, so that confidence decreases there."""


@dataclass(frozen=True)
class ViewTruth:
    """Ground truth of one view.

    Attributes:
        points: (batch, row, column, 3), in world coordinates; any values where not valid.
        valid: (batch, row, column), whether the points are known.
        sky: (batch, row, column), whether pixels are sky. They count as sky only where not valid.
        camera_to_world: (batch, 4, 4).
        is_metric: (batch), whether a sample's points are in metres.
        matches: (batch, match, 2), integer (x, y) of the sampled correspondences in this view.
        matches_valid: (batch, match), whether the i-th correspondence is true; the same in both views.
    """

    points: Float[Tensor, "batch row column 3"]
    valid: Bool[Tensor, "batch row column"]
    sky: Bool[Tensor, "batch row column"]
    camera_to_world: Float[Tensor, "batch 4 4"]
    is_metric: Bool[Tensor, " batch"]
    matches: Int[Tensor, "batch match 2"]
    matches_valid: Bool[Tensor, "batch match"]


@dataclass(frozen=True, kw_only=True)
class TwoViewLossConfig:
    """Weights and modes; the defaults are the published metric recipe.

    Attributes:
        metric: do not rescale samples in metres, so that a wrong scale is penalized (norm mode `?avg_dis`); False
            rescales every prediction by its own mean distance (`avg_dis`).
        log_space: compare points after replacing their distance d by log1p(d).
        confidence_weight: alpha in -alpha log C for points.
        matching_weight: weight of the matching loss in the sum; 0 leaves it out (DUSt3R).
        temperature: tau in the matching loss.
        matching_confidence_weight: alpha in -alpha log Q for descriptors.
        block_size: largest number of correspondences compared at once; more are shuffled and cut into blocks.
    """

    metric: bool = True
    log_space: bool = False
    confidence_weight: float = 0.2
    matching_weight: float = 0.075
    temperature: float = 0.05
    matching_confidence_weight: float = 10.0
    block_size: int = 8192

    def __post_init__(self) -> None:
        for name in ("temperature", "block_size"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} must be above 0; got {getattr(self, name)}")
        check_least(self, "confidence_weight", "matching_weight", "matching_confidence_weight", least=0)


@dataclass(frozen=True)
class TwoViewLoss:
    """A loss, and detached numbers to log under their published names (`conf_loss_1`, `Regr3D_pts3d_1` …)."""

    loss: Tensor
    details: dict[str, Tensor]


def two_view_loss(
    prediction1: ViewPrediction,
    prediction2: ViewPrediction,
    truth1: ViewTruth,
    truth2: ViewTruth,
    config: TwoViewLossConfig,
    *,
    generator: torch.Generator | None = None,
) -> TwoViewLoss:
    """Confidence-weighted regression + matching_weight * confidence-weighted matching.

    Args:
        generator: random generator of the shuffle; only needed with more correspondences than `config.block_size`.

    Raises:
        ConfigError: if the matching loss is on and the predictions have no descriptors.
    """
    regression = regression_loss(prediction1, prediction2, truth1, truth2, config)
    if not config.matching_weight:
        return regression
    matching = matching_loss(prediction1, prediction2, truth1, truth2, config, generator=generator)
    loss = regression.loss + config.matching_weight * matching.loss
    return TwoViewLoss(loss, {**regression.details, **matching.details})


def regression_loss(
    prediction1: ViewPrediction,
    prediction2: ViewPrediction,
    truth1: ViewTruth,
    truth2: ViewTruth,
    config: TwoViewLossConfig,
) -> TwoViewLoss:
    """ConfLoss(Regr3D): per view, the mean over the batch's pixels of C l - alpha log C, summed over the views.

    l is the distance between normalized prediction and normalized truth; sky pixels have l = 2. A view without any
    pixel contributes 0.
    """
    with full_precision(prediction1.points):
        distances = point_distances(prediction1, prediction2, truth1, truth2, config)
        loss = prediction1.points.new_zeros(())
        details = {}
        views = zip((prediction1, prediction2), (truth1, truth2), distances, strict=True)
        for view, (prediction, truth, distance) in enumerate(views, start=1):
            mask = truth.valid | truth.sky
            confidence = prediction.confidence.float()
            weighted = confidence * distance - config.confidence_weight * confidence.log()
            view_loss = _masked_mean(weighted, mask)  # over (batch, row, column)
            loss = loss + view_loss
            details[f"Regr3D_pts3d_{view}"] = _masked_mean(distance, mask).detach()
            details["conf_loss_1" if view == 1 else "conf_loss2"] = view_loss.detach()  # published names
        return TwoViewLoss(loss, details)


def point_distances(
    prediction1: ViewPrediction,
    prediction2: ViewPrediction,
    truth1: ViewTruth,
    truth2: ViewTruth,
    config: TwoViewLossConfig,
) -> tuple[Float[Tensor, "batch row column"], Float[Tensor, "batch other_row other_column"]]:
    """Per pixel and view: distance between prediction and truth after normalization; 2 for sky, 0 for other pixels."""
    to_camera1 = invert_pose(truth1.camera_to_world.float())
    targets, valid = [], (truth1.valid, truth2.valid)
    for truth in (truth1, truth2):
        known = torch.where(truth.valid[..., None], truth.points.float(), 0.0)  # unknown points may be NaN
        moved = transform_points(to_camera1, known)  # (batch, row, column, 3)
        targets.append(torch.where(truth.valid[..., None], moved, 0.0))
    points = [prediction1.points.float(), prediction2.points.float()]
    true_factor = mean_distance(targets[0], targets[1], *valid)  # (batch,)
    factor = mean_distance(points[0], points[1], *valid)
    if config.metric:
        factor = torch.where(truth1.is_metric, true_factor, factor)  # samples in metres are not rescaled
    distances = []
    for point, target, truth in zip(points, targets, (truth1, truth2), strict=True):
        point = point / factor[:, None, None, None]
        target = target / true_factor[:, None, None, None]
        if config.log_space:
            point, target = _log_distance(point), _log_distance(target)
        distance = (point - target).norm(dim=-1)  # (batch, row, column)
        sky = truth.sky & ~truth.valid  # (batch, row, column)
        constant = torch.where(sky, SKY_LOSS, 0.0)
        distances.append(torch.where(truth.valid, distance, constant))
    return distances[0], distances[1]


def mean_distance(
    points1: Float[Tensor, "batch row column 3"],
    points2: Float[Tensor, "batch other_row other_column 3"],
    valid1: Bool[Tensor, "batch row column"],
    valid2: Bool[Tensor, "batch other_row other_column"],
) -> Float[Tensor, " batch"]:
    """Per sample: mean distance from the origin over the valid pixels of both views, at least 1e-8 (`avg_dis`)."""
    total = points1.new_zeros(points1.shape[0])
    count = points1.new_zeros(points1.shape[0])
    for points, valid in ((points1, valid1), (points2, valid2)):
        # the gradient of norm at a point exactly at the origin is 0
        distance = torch.where(valid, points.norm(dim=-1), 0.0)
        total = total + distance.sum((1, 2))
        count = count + valid.sum((1, 2))
    return (total / count.clamp(min=1)).clamp(min=_MIN_FACTOR)


def matching_loss(
    prediction1: ViewPrediction,
    prediction2: ViewPrediction,
    truth1: ViewTruth,
    truth2: ViewTruth,
    config: TwoViewLossConfig,
    *,
    generator: torch.Generator | None = None,
) -> TwoViewLoss:
    """ConfMatching(InfoNCE): mean over the batch's true correspondences of Q l - alpha log Q.

    Q is the mean of both descriptor confidences.

    Raises:
        ConfigError: if the predictions have no descriptors, or if there are more correspondences than a block and no
            generator is given.
    """
    if prediction1.descriptors is None or prediction2.descriptors is None:
        raise ConfigError(
            "the matching loss needs descriptors: give the head descriptor_dim > 0, or set matching_weight=0"
        )
    with full_precision(prediction1.points):
        valid = truth1.matches_valid
        descriptors, confidences = [], []
        for prediction, truth in ((prediction1, truth1), (prediction2, truth2)):
            assert prediction.descriptors is not None and prediction.descriptor_confidence is not None
            found, quality = prediction.descriptors, prediction.descriptor_confidence[..., None]
            if found.ndim == 4:  # a map; otherwise the head has computed these pixels only
                found, quality = at_pixels(found, truth.matches), at_pixels(quality, truth.matches)
            descriptors.append(found.float())
            confidences.append(quality.float())
        losses, order = _in_blocks(descriptors[0], descriptors[1], valid, config, generator)
        first, second = (confidence.squeeze(-1) for confidence in confidences)  # (batch, match)
        quality, valid = (0.5 * (first + second))[:, order], valid[:, order]
        weighted = quality * losses - config.matching_confidence_weight * quality.log()
        loss = _masked_mean(weighted, valid)
        details = {
            "matching_conf_loss": loss.detach(),
            "MatchingLoss": _masked_mean(losses, valid).detach(),
            "Conf1_std": first.detach().std(),
            "Conf2_std": second.detach().std(),
        }
        return TwoViewLoss(loss, details)


def info_nce(
    descriptors1: Float[Tensor, "batch match channel"],
    descriptors2: Float[Tensor, "batch match channel"],
    temperature: float,
    *,
    unit: bool = False,
) -> Float[Tensor, "batch match"]:
    """Per correspondence: minus the log shares of its similarity in its row and in its column.

    With S_ij = exp(d1_i . d2_j / temperature): -log(S_ii / sum_k S_ki) - log(S_ii / sum_k S_ik), each share at least
    1e-8. All rows and columns count as alternatives, including those of false correspondences.

    Args:
        unit: the descriptors have unit length, so that all scores are within ±1 / temperature. One exponential then
            serves both sums, unless the temperature is too low.
    """
    descriptors1 = descriptors1 / temperature
    own = (descriptors1 * descriptors2).sum(-1)  # (batch, match): the diagonal
    if unit and 2 / temperature <= WIDEST:
        sums = log_sums(descriptors1, descriptors2, 1 / temperature)
    else:
        score = descriptors1 @ descriptors2.transpose(1, 2)  # (batch, match, match)
        sums = score.logsumexp(2), score.logsumexp(1)
    shares = [(own - one).clamp(min=_MIN_LOG_SHARE) for one in sums]
    return -(shares[0] + shares[1])


def _in_blocks(
    descriptors1: Tensor,
    descriptors2: Tensor,
    valid: Tensor,
    config: TwoViewLossConfig,
    generator: torch.Generator | None,
) -> tuple[Tensor, Tensor]:
    """`info_nce` within blocks of shuffled correspondences: losses (batch, match), and their order."""
    count = valid.shape[1]
    if count <= config.block_size:
        order = torch.arange(count, device=valid.device)
        return info_nce(descriptors1, descriptors2, config.temperature, unit=True), order
    if generator is None:
        raise ConfigError(
            f"{count} correspondences are more than block_size={config.block_size}: they are shuffled, which needs "
            "a generator"
        )
    order = torch.randperm(count, generator=generator, device=generator.device).to(valid.device)
    blocks = order.split(config.block_size)
    losses = [info_nce(descriptors1[:, b], descriptors2[:, b], config.temperature, unit=True) for b in blocks]
    return torch.cat(losses, dim=1), order


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the masked elements; 0 if there are none."""
    return torch.where(mask, values, 0.0).sum() / mask.sum().clamp(min=1)


def _log_distance(points: Tensor) -> Tensor:
    distance = points.norm(dim=-1, keepdim=True)
    return points / distance.clamp(min=_MIN_FACTOR) * torch.log1p(distance)

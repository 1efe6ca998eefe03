"""Make batches of pairs for the engine: images or cached tokens of both views, and the ground truth for the losses.

(seed, step, slot) alone decide the pair in a slot and every random draw. Loader workers make whole steps at a time.
Pointmaps are computed from depth, correspondences by reprojection with an occlusion test.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from codistill.data.randomness import Purpose, generator
from codistill.geometry.correspondences import PosedDepth, reciprocal_correspondences, sample_correspondences
from codistill.geometry.poses import invert_pose
from codistill.geometry.projection import depth_to_pointmap
from codistill.heads.two_view.losses import ViewTruth
from codistill.imaging.normalize import normalized
from codistill.tasks.shared.loading import Request, step_requests
from codistill.tasks.shared.workers import made_by_workers
from codistill.tasks.two_view.pairs import PairData
from codistill.tasks.two_view.views import PairView, PairViews
from codistill.types import Batch

VIEW, MATCHES = Purpose.PAIR_VIEW, Purpose.PAIR_MATCHES
DEPTH_TOLERANCE = 0.05


@dataclass(frozen=True, kw_only=True)
class PairBatch(Batch):
    """A `Batch` of pairs, with one name per pair; images of all first views come first, then those of all second views.

    Attributes:
        images: (2 * pair, 3, row, column), or (2 * pair, 3, 0, 0) if there are tokens.
        tokens: (2 * pair, patch, channel) in the same order, or None.
        grid: rows and columns of the token map.
        truth1, truth2: ground truth of first and second views, on the host.
    """

    tokens: Tensor | None = None
    grid: tuple[int, int] = (0, 0)
    truth1: ViewTruth
    truth2: ViewTruth


def truth_to(truth: ViewTruth, device: torch.device | str) -> ViewTruth:
    return ViewTruth(**{f.name: getattr(truth, f.name).to(device, non_blocking=True) for f in fields(truth)})


def joined(*parts: ViewTruth) -> ViewTruth:
    """Concatenate several batches of ground truth."""
    return ViewTruth(
        **{f.name: torch.cat([getattr(one, f.name) for one in parts]) for f in fields(ViewTruth)}
    )


def pair_truth(
    depths: Tensor, intrinsics: Tensor, poses: Tensor, count: int, draw: torch.Generator
) -> tuple[ViewTruth, ViewTruth]:
    """Compute the ground truth of one pair, as a batch of one.

    Args:
        depths: (2, row, column) metres, 0 unknown, infinite for sky.
        intrinsics: (2, 3, 3).
        poses: (2, 4, 4), camera-to-world.
        count: number of correspondences, true and false ones together.
        draw: random generator for the correspondences.
    """
    valid, sky = torch.isfinite(depths) & (depths > 0), torch.isposinf(depths)
    known = torch.where(valid, depths, 0.0)
    points = depth_to_pointmap(known, intrinsics, poses)
    views = [
        PosedDepth(depth=known[view], intrinsics=intrinsics[view], world_to_camera=invert_pose(poses[view]))
        for view in range(2)
    ]
    pixels = reciprocal_correspondences(views[0], views[1], depth_tolerance=DEPTH_TOLERANCE)
    shape = (depths.shape[1], depths.shape[2])
    *matches, true = sample_correspondences(*pixels, shape, shape, count, generator=draw)
    first, second = (
        ViewTruth(
            points=points[view : view + 1],
            valid=valid[view : view + 1],
            sky=sky[view : view + 1],
            camera_to_world=poses[view : view + 1],
            is_metric=torch.ones(1, dtype=torch.bool),
            matches=matches[view][None],
            matches_valid=true[None],
        )
        for view in range(2)
    )
    return first, second


def stacked_truth(parts: list[tuple[ViewTruth, ViewTruth]]) -> tuple[ViewTruth, ViewTruth]:
    """Ground truth of several pairs as one batch."""
    return joined(*(first for first, _ in parts)), joined(*(second for _, second in parts))


def matches_generator(seed: int, step: int, slot: int) -> torch.Generator:
    """Random generator for a pair's correspondences, seeded by (seed, step, slot)."""
    return torch.Generator().manual_seed(int(generator(seed, MATCHES, step, slot).integers(2**62)))


@dataclass(frozen=True)
class RawPairs:
    """The pairs of one request, as a worker returns them."""

    images: Tensor
    truth: tuple[ViewTruth, ViewTruth]
    names: tuple[str, ...]


class PairRequests(Dataset[RawPairs]):
    """A map-style data set indexed by requests: an item holds views with ground truth, made in a loader worker."""

    def __init__(self, data: PairData, maker: PairViews, seed: int, matches: int) -> None:
        self.data, self.maker, self.seed, self.matches = data, maker, seed, matches

    def __getitem__(self, request: Request) -> RawPairs:
        images, truths, names = [], [], []
        maker = self.maker.of_step(self.seed, request.step)
        for slot, item in zip(request.slots, request.items, strict=True):
            pair = self.data[item]
            rng = generator(self.seed, VIEW, request.step, slot)
            view: PairView = maker.plain(pair) if request.plain else maker(pair, rng)
            depths, intrinsics, poses = map(torch.from_numpy, (view.depths, view.intrinsics, view.poses))
            draw = matches_generator(self.seed, request.step, slot)
            truths.append(pair_truth(depths, intrinsics, poses, self.matches, draw))
            images.append(view.images)
            names.append(pair.name)
        both = np.concatenate([np.stack([pair[view] for pair in images]) for view in range(2)])
        return RawPairs(torch.from_numpy(both), stacked_truth(truths), tuple(names))


def pair_batches(
    data: PairData,
    maker: PairViews,
    requests: Iterable[Request],
    *,
    seed: int,
    matches: int,
    workers: int | None = None,
    device: torch.device | str = "cpu",
) -> Iterator[PairBatch]:
    """Make batches of views, in the order of the requests.

    Args:
        data, maker: pairs, and what turns them into views.
        requests: the pairs to use; the workers read ahead.
        seed: seed of the random draws.
        matches: correspondences per pair.
        workers: loader processes; 0: this process, None: one per CPU of this process.
        device: device on which images are normalized; ground truth stays on the host.

    Raises:
        DataError: if a pair cannot be used.
    """
    device = torch.device(device)
    requested = PairRequests(data, maker, seed, matches)
    for raw in made_by_workers(requested, requests, workers=workers, device=device):
        images = normalized(raw.images.to(device, non_blocking=True))
        count = len(raw.names)
        labels = (("3d",) * count, ("",) * count, raw.names)
        yield PairBatch(images, *labels, truth1=raw.truth[0], truth2=raw.truth[1])


def online_batches(
    data: PairData,
    maker: PairViews,
    *,
    batch_size: int,
    seed: int,
    matches: int,
    workers: int | None = None,
    device: torch.device | str = "cpu",
    **run: int,
) -> Callable[[int], Iterable[PairBatch]]:
    """The engine's training batches, as a function of the start step.

    Args:
        data, maker, seed, matches, workers, device: see `pair_batches`.
        batch_size: pairs per step, over all ranks.
        run: `total_steps`, `accumulate`, `rank`, `world_size`: see `step_requests`, which also defines the errors.
    """
    requests = step_requests(len(data), batch_size, seed=seed, **run)
    return lambda start: pair_batches(
        data, maker, requests(start), seed=seed, matches=matches, workers=workers, device=device
    )

"""Make batches with targets from labelled images: the encoder's input, or its stored tokens, and the head's targets.

(seed, step) alone decide which image fills a slot, and whether it is mirrored. People are assigned to cells here, on
the host, where this causes no synchronization with the device.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from codistill.data.randomness import Purpose, generator
from codistill.heads.human_mesh.targets import PeopleTargets, TargetConfig, assign_people
from codistill.imaging.normalize import normalized
from codistill.tasks.people.sample import PeopleImages, Skeleton, join_truths
from codistill.tasks.people.tokens import StoredTokens
from codistill.tasks.people.views import ViewLabels, mirrored_pixels, square_view
from codistill.tasks.shared.loading import Request, step_requests
from codistill.tasks.shared.workers import made_by_workers
from codistill.types import Batch

MIRROR = Purpose.PEOPLE_MIRROR


@dataclass(frozen=True, kw_only=True)
class PeopleBatch(Batch):
    """A `Batch` with cameras and targets, on the host.

    Attributes:
        intrinsics: (batch, 3, 3), of the square images.
        targets: see `assign_people`.
        patches: stored tokens, (batch, patch, channel); `images` then has no pixels.
    """

    intrinsics: Tensor
    targets: PeopleTargets
    patches: Tensor | None = None


@dataclass(frozen=True)
class ViewPlan:
    """How images become batches; picklable.

    Attributes:
        data: labelled images.
        skeleton: skeleton of the labels' body model.
        size, patch_size: sides of the square image and of a token, pixels.
        mirror: exchange left and right in half of the training views.
        targets: see `TargetConfig`.
        seed: seed of the random draws.
        stored: stored tokens and labels of every image; None: images are read and encoded in every step.
    """

    data: PeopleImages
    skeleton: Skeleton
    size: int
    patch_size: int
    mirror: bool
    targets: TargetConfig
    seed: int
    stored: StoredTokens | None = None


@dataclass(frozen=True)
class RawBatch:
    """The batch of one request, as a worker returns it."""

    pixels: Tensor
    patches: Tensor | None
    intrinsics: Tensor
    targets: PeopleTargets
    names: tuple[str, ...]


class PeopleViews(Dataset[RawBatch]):
    """A map-style data set indexed by requests: an item is the raw batch of one request, made in a loader worker."""

    def __init__(self, plan: ViewPlan) -> None:
        self.plan = plan

    def __getitem__(self, request: Request) -> RawBatch:
        plan = self.plan
        flips = [plan.mirror and not request.plain and self._coin(request.step, s) for s in request.slots]
        if plan.stored is None:
            made = [self._fresh(item, flip) for item, flip in zip(request.items, flips, strict=True)]
            pixels = torch.from_numpy(np.stack([one[0] for one in made]))
            return assembled(plan, [one[1] for one in made], pixels=pixels)
        labels = [self._stored(item, flip) for item, flip in zip(request.items, flips, strict=True)]
        return assembled(plan, labels, patches=plan.stored.patches(request.items, flips))

    def _coin(self, step: int, slot: int) -> bool:
        return bool(generator(self.plan.seed, MIRROR, step, slot).random() < 0.5)

    def _fresh(self, item: int, flip: bool) -> tuple[np.ndarray, ViewLabels]:
        pixels, labels = square_view(self.plan.data[item], self.plan.size)
        if flip:
            return mirrored_pixels(pixels), labels.mirrored(self.plan.skeleton)
        return pixels, labels

    def _stored(self, item: int, flip: bool) -> ViewLabels:
        assert self.plan.stored is not None
        labels = self.plan.stored.labels[item]
        return labels.mirrored(self.plan.skeleton) if flip else labels


def assembled(
    plan: ViewPlan,
    labels: Sequence[ViewLabels],
    *,
    pixels: Tensor | None = None,
    patches: Tensor | None = None,
) -> RawBatch:
    """Assemble the labels of several images to one batch."""
    intrinsics = torch.stack([one.intrinsics for one in labels])
    cells = plan.size // plan.patch_size
    truth = join_truths([one.truth for one in labels])
    targets = assign_people(truth, intrinsics, (cells, cells), plan.patch_size, plan.targets)
    pixels = torch.empty(len(labels), 0, 0, 3, dtype=torch.uint8) if pixels is None else pixels
    return RawBatch(pixels, patches, intrinsics, targets, tuple(one.name for one in labels))


def people_batches(
    plan: ViewPlan, requests: Iterable[Request], *, workers: int | None, device: torch.device
) -> Iterator[PeopleBatch]:
    """Yield batches in the order of the requests, with images on the device.

    Raises:
        DataError: if an image cannot be used.
    """
    workers = workers if plan.stored is None else 0
    for raw in made_by_workers(PeopleViews(plan), requests, workers=workers, device=device):
        count = len(raw.names)
        yield PeopleBatch(
            images=normalized(raw.pixels.to(device, non_blocking=True)),
            domains=("human",) * count,
            sources=("",) * count,
            names=raw.names,
            intrinsics=raw.intrinsics,
            targets=raw.targets,
            patches=raw.patches,
        )


def training_batches(
    plan: ViewPlan, batch_size: int, *, workers: int | None = None, device: torch.device, **run: int
) -> Callable[[int], Iterable[PeopleBatch]]:
    """The engine's batches, as a function of the start step.

    Args:
        plan: how images become batches.
        batch_size: images per step, over all ranks.
        workers, device: loader processes, and the device of the images.
        run: `total_steps`, `accumulate`, `rank`, `world_size`: see `step_requests`, which also defines the errors.
    """
    requests = step_requests(len(plan.data), batch_size, seed=plan.seed, **run)
    return lambda start: people_batches(plan, requests(start), workers=workers, device=device)


def plain_batches(
    plan: ViewPlan, batch_size: int, *, workers: int | None = None, device: torch.device
) -> Iterator[PeopleBatch]:
    """Every image once, in order, not mirrored."""
    starts = range(0, len(plan.data), batch_size)
    groups = [tuple(range(start, min(start + batch_size, len(plan.data)))) for start in starts]
    requests = [Request(0, tuple(range(len(group))), group, plain=True) for group in groups]
    return people_batches(plan, requests, workers=workers, device=device)

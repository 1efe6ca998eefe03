"""Contact sheets of a built world: only pictures, or pictures with depth, labels, and bodies or matched points."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from codistill.imaging.colours import depth_picture, depth_range, label_picture
from codistill.imaging.marks import with_points, with_silhouettes, with_skeletons
from codistill.imaging.pictures import grid_picture
from codistill.render.camera import Camera
from codistill.world.classes import CLASSES
from codistill.world.dataset import PairSample, World
from codistill.world.pairs import reproject

SKELETON = (
    (0, 2, 4, 6),
    (0, 22, 24, 26),
    (0, 41, 43, 45, 98, 101),
    (45, 48, 50, 52),
    (45, 74, 76, 78),
)
"""Chains of Anny's joints: legs, spine to head, arms."""


def truth_sheet(world: World, split: str, rows: int = 4) -> NDArray[np.uint8]:
    """Draw a sheet with `rows` samples per domain, each beside its ground truth."""
    lines: list[list[NDArray[np.uint8]]] = []
    for domain in world.domains:
        if domain == "rooms":
            lines += _pair_rows(world, split, rows)
        else:
            lines += _rows(world, split, domain, rows)
    return _sheet(lines)


def plain_sheet(
    world: World, domain: str, split: str, count: int = 64, columns: int = 8
) -> NDArray[np.uint8]:
    """Draw a sheet of pictures of one domain, without ground truth."""
    data = world.segmentation(split, (domain,))
    images = [data[i].image.numpy() for i in range(min(count, len(data)))]
    return _sheet([images[i : i + columns] for i in range(0, len(images), columns)])


def _sheet(lines: list[list[NDArray[np.uint8]]]) -> NDArray[np.uint8]:
    height, width = lines[0][0].shape[:2]
    return np.asarray(grid_picture(lines, (), (height, width)))


def _in_colours(depth: torch.Tensor) -> NDArray[np.uint8]:
    values = depth.numpy()
    return depth_picture(values, *depth_range(values))


def _rows(world: World, split: str, domain: str, rows: int) -> list[list[NDArray[np.uint8]]]:
    labels, depth = world.segmentation(split, (domain,)), world.depth(split, (domain,))
    people = world.people(split) if domain == "people" else None
    out = []
    for i in range(min(rows, len(labels))):
        image = labels[i].image.numpy()
        line = [
            image,
            _in_colours(depth[i].depth),
            label_picture(labels[i].labels.numpy(), len(CLASSES)),
        ]
        if people is not None:
            one = people[i]
            tinted = with_silhouettes(image, one.instances.numpy(), one.instance_ids.tolist())
            line.append(with_skeletons(tinted, one.joints_2d.numpy(), SKELETON))
        out.append(line)
    return out


def _pair_rows(world: World, split: str, rows: int) -> list[list[NDArray[np.uint8]]]:
    pairs, labels = world.pairs(split), world.segmentation(split, ("rooms",))
    out = []
    for i in range(min(rows, len(pairs))):
        pair = pairs[i]
        first, second = matched_points(pair, 12)
        a, b = (image.numpy() for image in pair.images)
        out.append(
            [
                with_points(a, first),
                with_points(b, second),
                _in_colours(pair.depths[0]),
                label_picture(labels[2 * i].labels.numpy(), len(CLASSES)),
            ]
        )
    return out


def cameras_of(pair: PairSample) -> Sequence[Camera]:
    """The cameras of both views."""
    height, width = pair.depths.shape[1:]
    return [
        Camera(k.double().numpy(), p.double().numpy(), int(height), int(width))
        for k, p in zip(pair.intrinsics, pair.poses, strict=True)
    ]


def matched_points(pair: PairSample, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Up to `count` points (N, 2), as (column, row), that both views see, distributed over the first view."""
    first, second = cameras_of(pair)
    found = reproject(pair.depths[0].numpy(), first, pair.depths[1].numpy(), second)
    seen = np.flatnonzero(found.visible)
    if len(seen) == 0:
        return np.zeros((0, 2)), np.zeros((0, 2))
    order = torch.randperm(len(seen), generator=torch.Generator().manual_seed(0)).numpy()
    spots = np.stack([seen % first.width, seen // first.width], axis=1).astype(np.float64)[order]
    chosen: list[int] = []
    for i, spot in enumerate(spots):
        if all(np.linalg.norm(spot - spots[j]) > first.width / 9 for j in chosen):
            chosen.append(i)
        if len(chosen) == count:
            break
    return spots[chosen], found.pixels[seen[order[chosen]]]

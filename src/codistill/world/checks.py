"""Checks of a built world, computed from the stored files, independently of the code that made them."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from codistill.nn.moments import RidgeSums
from codistill.world.categories import CATEGORIES
from codistill.world.classes import CLASSES, PERSON, SURROUNDINGS
from codistill.world.dataset import PairSample, PeopleSample, World, read_facts
from codistill.world.identity import SPLITS
from codistill.world.pairs import OVERLAP, overlap, reproject, tolerance
from codistill.world.people import HEAD_PATCH
from codistill.world.show import cameras_of

HEAD_JOINT = 101
"""Index of the head among Anny's joints."""


@dataclass(frozen=True)
class Check:
    """One check: measured value, limit, and whether it holds."""

    name: str
    measured: str
    allowed: str
    passed: bool


def check_world(world: World, sample: int | None = 24) -> list[Check]:
    """Run all checks.

    Args:
        sample: number of pictures (or pairs) per check; None: all. Classes are always counted over all pictures.
    """
    out = [check_classes(world)]
    if "rooms" in world.domains:
        pairs = [p for split in SPLITS for p in _first(world.pairs(split), sample)]
        out += [check_reprojection(pairs), check_overlap(pairs)]
    if "people" in world.domains:
        people = [p for split in SPLITS for p in _first(world.people(split), sample)]
        out.append(check_heads(people))
    if "objects" in world.domains:
        out.append(check_colors(world))
    return out


def _first(data, count: int | None) -> list:
    return [data[i] for i in range(len(data) if count is None else min(count, len(data)))]


def check_classes(world: World) -> Check:
    """Check that each class of the world's domains occurs in each split that has at least as many scenes as classes."""
    wanted = set(CLASSES)
    if "people" not in world.domains:
        wanted.discard(PERSON)
    if "objects" not in world.domains:
        wanted &= {*SURROUNDINGS, PERSON}
    missing = []
    small = []
    for split in SPLITS:
        if len(world.segmentation(split, world.domains[:1])) < len(CATEGORIES):
            small.append(split)
            continue
        seen: set[str] = set()
        for source in world.segmentation(split, world.domains).sources():
            for index in range(len(source)):
                seen.update(read_facts(source, index)["classes"])
        missing += [f"{name} ({split})" for name in sorted(wanted - seen)]
    text = f"missing: {', '.join(missing) or 'none'}"
    if small:
        text += f"; not asked of {', '.join(small)}: fewer than {len(CATEGORIES)} scenes"
    return Check("classes in every split", text, "none missing", not missing)


def see_through(pair: PairSample) -> float:
    """Share of the pixels of view 1 that, projected into view 2, lie in front of its surface; 0 in a consistent world.

    A point that view 2 does not see lies behind the surface that view 2 sees, never in front of it. Pixels next to a
    depth discontinuity of view 2 are left out, because rounding decides which of the two surfaces the centre of a pixel
    hits. Pixels at the border of view 2 are left out too, because a discontinuity may lie just outside the picture.
    """
    first, second = cameras_of(pair)
    depth = pair.depths[1].numpy()
    found = reproject(pair.depths[0].numpy(), first, depth, second)
    inside = found.inside & ~_near_step(depth, found.pixels, found.inside)
    if not inside.any():
        return 0.0
    row = np.clip(np.round(found.pixels[:, 1]).astype(int), 0, second.height - 1)
    column = np.clip(np.round(found.pixels[:, 0]).astype(int), 0, second.width - 1)
    limit = found.depth * (1.0 + tolerance(depth, row, column, found.inside)) + 2e-3
    return float((found.other > limit)[inside].mean())


def _near_step(
    depth: NDArray[np.float32], pixels: NDArray[np.float64], inside: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """(N,) whether depth in the 3×3 pixels around a point varies by more than 4 %, or they leave the picture."""
    safe = np.where(np.isfinite(depth), depth, 1e4)
    padded = np.pad(safe, 1, constant_values=np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    step = windows.max(axis=(2, 3)) > 1.04 * windows.min(axis=(2, 3))
    out = np.zeros(len(pixels), bool)
    at = np.round(pixels[inside]).astype(int)
    out[inside] = step[at[:, 1], at[:, 0]]
    return out


def check_reprojection(pairs: list[PairSample]) -> Check:
    """Check that depth of view 1, projected into view 2, agrees with view 2's depth within 1 % where it is visible."""
    worst = max((see_through(pair) for pair in pairs), default=0.0)
    return Check(
        "depth re-projected", f"{worst:.2%} of pixels seen through, at worst", "1.00%", worst <= 0.01
    )


def check_overlap(pairs: list[PairSample]) -> Check:
    """Check that the stored overlap equals that of the stored depth maps, and is within the limits."""
    worst, outside = 0.0, 0
    for pair in pairs:
        first, second = cameras_of(pair)
        measured = overlap(pair.depths[0].numpy(), first, pair.depths[1].numpy(), second)
        worst = max(worst, abs(measured - pair.overlap))
        outside += not OVERLAP[0] - 0.06 <= pair.overlap <= OVERLAP[1] + 0.06
    text = f"off by {worst:.3f} at worst, {outside} of {len(pairs)} outside {OVERLAP[0]} to {OVERLAP[1]}"
    return Check("overlap as measured", text, "0.02, none outside (± 0.06)", worst <= 0.02 and outside == 0)


def check_heads(people: list[PeopleSample]) -> Check:
    """Check that head joints, projected with the intrinsics, hit the stored pixels."""
    worst, count = 0.0, 0
    for one in people:
        for joints, pixels in zip(one.joints_3d.numpy(), one.joints_2d.numpy(), strict=True):
            x, y, z = joints[HEAD_JOINT]
            k = one.intrinsics.numpy()
            again = np.array([k[0, 0] * x / z + k[0, 2], k[1, 1] * y / z + k[1, 2]])
            worst = max(worst, float(np.abs(again - pixels[HEAD_JOINT]).max()) if z > 0.1 else 0.0)
            count += 1
    allowed = HEAD_PATCH / 14
    return Check(
        "head joints projected",
        f"off by {worst:.2f} pixels at worst, {count} people",
        f"{allowed:.0f} pixel",
        worst < allowed,
    )


def object_colors(world: World, split: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Mean and standard deviation of the colour, (N, 6), and class, (N,), of every thing of at least 40 pixels."""
    features, classes = [], []
    data = world.segmentation(split, ("objects",))
    source = data.sources()[0]
    for index in range(len(source)):
        sample = data[index]
        image = sample.image.numpy().reshape(-1, 3).astype(np.float64) / 255
        labels = sample.labels.numpy().ravel()
        for label in np.unique(labels):
            mine = image[labels == label]
            if label >= len(SURROUNDINGS) + 1 and len(mine) >= 40:
                features.append(np.concatenate([mine.mean(axis=0), mine.std(axis=0)]))
                classes.append(int(label))
    return np.asarray(features), np.asarray(classes, np.int64)


def color_probe(world: World) -> tuple[float, float]:
    """Accuracy of a linear (ridge) classifier of things from their colours, and accuracy of the most common class."""
    x, y = object_colors(world, "train")
    xt, yt = object_colors(world, "test")
    if len(x) < 10 or len(xt) < 5:
        return 0.0, 1.0
    mean, deviation = x.mean(axis=0), x.std(axis=0) + 1e-6
    design = np.column_stack([(x - mean) / deviation, np.ones(len(x))])
    targets = np.eye(len(CLASSES))[y]
    sums = RidgeSums(intercept=False)
    sums.add(torch.from_numpy(design), torch.from_numpy(targets))
    weights = sums.solve(1 / len(design))[0].numpy()
    guesses = (np.column_stack([(xt - mean) / deviation, np.ones(len(xt))]) @ weights).argmax(axis=1)
    common = float((yt == np.bincount(y).argmax()).mean())
    return float((guesses == yt).mean()), common


def check_colors(world: World) -> Check:
    """Check that colour does not tell the class: a linear classifier of colours hardly beats the most common class."""
    accuracy, common = color_probe(world)
    allowed = common + 0.12
    return Check(
        "colour carries no class",
        f"accuracy {accuracy:.1%}, commonest class {common:.1%}",
        f"{allowed:.1%}",
        accuracy <= allowed,
    )

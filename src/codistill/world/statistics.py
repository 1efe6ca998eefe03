"""Statistics of a built world, from the JSON of its pictures: classes, depths, overlaps, ages, distances."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from codistill.world.classes import CLASSES
from codistill.world.dataset import World, read_facts
from codistill.world.identity import SPLITS

QUANTILES = (5, 25, 50, 75, 95)


def describe_world(world: World, depth_maps: int = 100) -> dict[str, Any]:
    """Compute the statistics as plain JSON values.

    Args:
        depth_maps: number of training pictures per domain whose depth is read.
    """
    out: dict[str, Any] = {"size": world.size, "seed": world.seed, "images": {}, "classes": {}, "depth_m": {}}
    overlaps, baselines, rotations = [], [], []
    people: list[dict[str, Any]] = []
    stages: Counter[str] = Counter()
    for split in SPLITS:
        counts: Counter[str] = Counter()
        for domain, source in zip(
            world.domains, world.segmentation(split, world.domains).sources(), strict=True
        ):
            out["images"].setdefault(domain, {})[split] = len(source)
            for index in range(len(source)):
                facts = read_facts(source, index)
                counts.update(facts["classes"])
                stages[f"{domain}: {facts['stage']}"] += 1
                people += facts.get("people", [])
                if "pair" in facts and facts["view"] == 0:
                    overlaps.append(facts["pair"]["overlap"])
                    baselines.append(facts["pair"]["baseline"])
                    rotations.append(facts["pair"]["rotation"])
        for name in CLASSES:
            out["classes"].setdefault(name, {})[split] = counts[name]
    for domain in world.domains:
        out["depth_m"][domain] = _depths(world, domain, depth_maps)
    out["stages"] = dict(sorted(stages.items()))
    if overlaps:
        out["pairs"] = {
            "overlap": _histogram(overlaps, np.arange(0.2, 0.95, 0.1)),
            "baseline_m": _quantiles(baselines),
            "rotation_degrees": _quantiles(rotations),
        }
    if people:
        out["people"] = _people(people)
    return out


def _people(people: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "count": len(people),
        "age": _histogram([p["phenotypes"]["age"] for p in people], np.linspace(0, 1, 6)),
        "gender": _histogram([p["phenotypes"]["gender"] for p in people], np.linspace(0, 1, 4)),
        "weight": _histogram([p["phenotypes"]["weight"] for p in people], np.linspace(0, 1, 6)),
        "distance_m": _quantiles([p["translation"][2] for p in people]),
        "visible": _histogram([p["visible"] for p in people], np.linspace(0, 1, 6)),
        "pose": dict(Counter(p["pose_family"] for p in people).most_common()),
        "head_in_view": round(float(np.mean([p["head_cell"] is not None for p in people])), 3),
        "self_penetration_above_3_percent": round(
            float(np.mean([p["penetration"] > 0.03 for p in people])), 4
        ),
    }


def _depths(world: World, domain: str, count: int) -> dict[str, float]:
    data = world.depth("train", (domain,))
    values = [data[i].depth.numpy()[::7, ::7].ravel() for i in range(min(count, len(data)))]
    depth = np.concatenate(values)
    return {**_quantiles(depth[np.isfinite(depth)]), "sky": round(float(np.isinf(depth).mean()), 3)}


def _quantiles(values: Sequence[float] | np.ndarray) -> dict[str, float]:
    return {
        f"p{q}": round(float(v), 3) for q, v in zip(QUANTILES, np.percentile(values, QUANTILES), strict=True)
    }


def _histogram(values: Sequence[float], edges: np.ndarray) -> dict[str, int]:
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    return {f"{a:.2f}-{b:.2f}": int(c) for a, b, c in zip(edges[:-1], edges[1:], counts, strict=True)}

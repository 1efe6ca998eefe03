"""Benchmark of the embedded world: domains and a picture size in, pictures per second and processor time out."""

import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from codistill.world.compose import prepare_worker
from codistill.world.identity import VIEWS, SceneId
from codistill.world.sample import encode_views, render_views


def bench_world(
    domains: Sequence[str], pictures: int, size: int, workers: int
) -> dict[str, dict[str, float]]:
    """Measure every domain; the first scenes of each worker (imports, building Anny) are not counted."""
    found: dict[str, dict[str, float]] = {}
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=prepare_worker) as pool:
        for domain in domains:
            scenes = [
                SceneId(seed=1, domain=domain, split="train", index=i)
                for i in range(pictures // VIEWS[domain])
            ]
            list(pool.map(render_one, scenes[:1] * workers * 2, [size] * workers * 2))
            start = time.perf_counter()
            results = list(pool.map(render_one, scenes, [size] * len(scenes)))
            seconds = time.perf_counter() - start
            count, num_bytes, spent = (sum(column) for column in zip(*results, strict=True))
            found[domain] = {
                "pictures": count,
                "pictures_per_second": count / seconds,
                "processor_seconds_per_picture": spent / count,
                "bytes_per_picture": num_bytes / count,
            }
    return found


def render_one(scene_id: SceneId, size: int) -> tuple[int, int, float]:
    """Render one scene; returns pictures, encoded bytes (as written to disk) and processor seconds."""
    start = time.process_time()
    samples = encode_views(scene_id, render_views(scene_id, size))
    size_of = sum(len(data) for _, members in samples for data in members.values())
    return len(samples), size_of, time.process_time() - start

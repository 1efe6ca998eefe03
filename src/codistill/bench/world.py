"""The embedded world: domains and a picture size in, pictures per second and the processor time of one out."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

from codistill.world.compose import prepare_worker
from codistill.world.identity import VIEWS, SceneId
from codistill.world.sample import encode_views, render_views


@dataclass(frozen=True, kw_only=True)
class WorldSpeed:
    """What one domain took.

    Attributes:
        domain, pictures: how many of what.
        seconds: for all of them, by the clock.
        processor_seconds, bytes: of one of them, encoded as for the disk.
    """

    domain: str
    pictures: int
    seconds: float
    processor_seconds: float
    bytes: float


def bench_world(domains: Sequence[str], pictures: int, size: int, workers: int) -> Iterator[WorldSpeed]:
    """Render scenes of every domain; the first ones of each worker (imports, Anny) are not counted."""
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
            yield WorldSpeed(
                domain=domain,
                pictures=int(count),
                seconds=seconds,
                processor_seconds=spent / count,
                bytes=num_bytes / count,
            )


def render_one(scene_id: SceneId, size: int) -> tuple[int, int, float]:
    """Pictures, bytes and processor seconds of one scene, encoded as for the disk."""
    start = time.process_time()
    samples = encode_views(scene_id, render_views(scene_id, size))
    size_of = sum(len(data) for _, members in samples for data in members.values())
    return len(samples), size_of, time.process_time() - start

"""Build a world on disk: several processes render scenes, which are written in order into hashed tar shards.

DIR/world.json describes the world; DIR/<domain>/<split>/ holds the shards and `index.parquet`, which are an ordinary
source of kind `shards`. A shard with a complete record is finished. An interrupted build resumes after the finished
shards, and a shard with a wrong hash is made again. Scenes do not depend on the number of workers.
"""

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

from codistill.data.shard_format import read_record, record_path, verify_shard, write_shard
from codistill.data.shard_index import write_index
from codistill.errors import ConfigError, DataError, unknown_name
from codistill.files.writing import make_directory, write_atomic
from codistill.world.classes import CLASSES
from codistill.world.compose import prepare_worker, world_body
from codistill.world.identity import DATA_DOMAIN, DOMAINS, SPLITS, VIEWS, SceneId
from codistill.world.sample import FORMAT, encode_views, render_views

WORLD_FILE = "world.json"
IMAGES_PER_SHARD = 128
AHEAD = 4
"""Number of scenes queued for each worker besides the one that it renders."""

Sample = tuple[str, dict[str, bytes]]
Progress = Callable[[str, str, int], None]
"""Called with (domain, split, pictures finished since the last call)."""


@dataclass(frozen=True, kw_only=True)
class WorldConfig:
    """Configuration of a world.

    Attributes:
        images: total number of pictures, divided evenly among the domains.
        domains: domains to build, of `objects`, `rooms`, `people`.
        size: side of the pictures in pixels.
        seed: seed of the world; the same seed gives the same scenes.
        val_share, test_share: shares of the pictures of each domain; the rest is for training.
    """

    images: int
    domains: tuple[str, ...] = DOMAINS
    size: int = 224
    seed: int = 0
    val_share: float = 0.05
    test_share: float = 0.15

    def __post_init__(self) -> None:
        for domain in self.domains:
            if domain not in DOMAINS:
                raise ConfigError(unknown_name("domain", domain, DOMAINS))
        if not self.domains or len(set(self.domains)) != len(self.domains):
            raise ConfigError(f"domains must be some of {', '.join(DOMAINS)}, each once; got {self.domains}")
        if not 32 <= self.size <= 1024:
            raise ConfigError(f"size must be 32 to 1024 pixels; got {self.size}")
        if self.seed < 0:
            raise ConfigError(f"seed must be 0 or more; got {self.seed}")
        if not (min(self.val_share, self.test_share) >= 0 and self.val_share + self.test_share < 1):  # or NaN
            raise ConfigError(
                f"val_share and test_share must not be negative and leave something for training; "
                f"got {self.val_share} and {self.test_share}"
            )
        if self.images < 6 * len(self.domains):
            raise ConfigError(
                f"{self.images} images are too few for {len(self.domains)} domains with three splits each; "
                f"give at least {6 * len(self.domains)}"
            )

    def scenes(self, domain: str, split: str) -> int:
        """Number of scenes in a split of a domain: at least one."""
        total = self.images // len(self.domains) // VIEWS[domain]
        test = max(1, round(total * self.test_share))
        val = max(1, round(total * self.val_share))
        return {"train": max(1, total - test - val), "val": val, "test": test}[split]

    def pictures(self) -> int:
        """Total number of pictures of the world."""
        return sum(self.scenes(d, s) * VIEWS[d] for d in self.domains for s in SPLITS)


def split_folder(root: Path, domain: str, split: str) -> Path:
    """Folder of a split's shards, which is the path of an ordinary source."""
    return root / domain / split


def build_world(
    root: Path, config: WorldConfig, *, workers: int = 0, progress: Progress | None = None
) -> list[Path]:
    """Build, finish or repair a world.

    Args:
        root: the folder; created if missing.
        workers: number of processes; 0 for one per core, 1 for only this process.
        progress: called as pictures are finished, and for those that were finished before.

    Returns:
        The damaged shards that were made again.

    Raises:
        DataError: if the folder holds a world of another kind, or more pictures of a split than are asked for.
        MissingExtraError: if a package of the extra `world` is missing.
    """
    make_directory(root)
    _check_plan(root, config)
    mended: list[Path] = []
    workers = workers or len(os.sched_getaffinity(0))
    if "people" in config.domains:
        world_body()  # Anny is built here, which is slow, and not in every worker at once
    with _renderer(workers) as render_all:
        for domain in config.domains:
            for split in SPLITS:
                mended += _build_split(root, config, domain, split, render_all, progress)
                write_index(split_folder(root, domain, split))
    return mended


RenderAll = Callable[[list[SceneId], int], Iterator[list[Sample]]]


def _build_split(
    root: Path, config: WorldConfig, domain: str, split: str, render_all: RenderAll, progress: Progress | None
) -> list[Path]:
    folder = split_folder(root, domain, split)
    make_directory(folder)
    per_shard = IMAGES_PER_SHARD // VIEWS[domain]
    count = config.scenes(domain, split)
    mended = []
    starts = range(0, count, per_shard)
    for number, start in enumerate(starts):
        shard = folder / f"shard-{number:06d}.tar"
        scenes = [
            SceneId(seed=config.seed, domain=domain, split=split, index=i)
            for i in range(start, min(start + per_shard, count))
        ]
        state = _state(shard, len(scenes) * VIEWS[domain])
        if state == "whole":
            if progress is not None:
                progress(domain, split, len(scenes) * VIEWS[domain])
            continue
        if state == "damaged":
            mended.append(shard)
        record_path(shard).unlink(missing_ok=True)
        write_shard(shard, _flat(render_all(scenes, config.size), domain, split, progress))
    for extra in folder.glob("shard-*.tar"):
        if int(extra.stem.split("-")[1]) >= len(starts):
            extra.unlink()
            record_path(extra).unlink(missing_ok=True)
    return mended


def _state(shard: Path, pictures: int) -> str:
    """State of a shard: `missing`, `partial` (fewer pictures than wanted), `damaged`, or `whole`."""
    if not shard.exists():
        return "missing"
    try:
        record = verify_shard(shard)
    except DataError:
        return "damaged"
    return "whole" if len(record.samples) == pictures else "partial"


def _flat(
    batches: Iterator[list[Sample]], domain: str, split: str, progress: Progress | None
) -> Iterator[Sample]:
    for samples in batches:
        yield from samples
        if progress is not None:
            progress(domain, split, len(samples))


@contextmanager
def _renderer(workers: int) -> Iterator[RenderAll]:
    """Context with a function that renders scenes in order, in this process or in workers."""
    if workers <= 1:
        yield lambda scenes, size: (_render_scene(scene, size) for scene in scenes)
        return
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=prepare_worker)
    try:
        yield lambda scenes, size: _in_order(pool, scenes, size, workers * AHEAD)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _render_scene(scene_id: SceneId, size: int) -> list[Sample]:
    return encode_views(scene_id, render_views(scene_id, size))


def _in_order(
    pool: ProcessPoolExecutor, scenes: list[SceneId], size: int, ahead: int
) -> Iterator[list[Sample]]:
    """Yield rendered scenes in the order of the list, with `ahead` of them in progress."""
    waiting: list[Future[list[Sample]]] = []
    for scene in scenes:
        waiting.append(pool.submit(_render_scene, scene, size))
        if len(waiting) > ahead:
            yield waiting.pop(0).result()
    for future in waiting:
        yield future.result()


def _check_plan(root: Path, config: WorldConfig) -> None:
    """Write `world.json`, or check an existing one: size and seed must agree, the number of pictures may only grow."""
    path = root / WORLD_FILE
    plan = {
        "format": FORMAT,
        **asdict(config),
        "domains": list(config.domains),
        "classes": list(CLASSES),
        "data_domains": DATA_DOMAIN,
    }
    if path.exists():
        earlier = read_world(root)
        changed = [k for k in ("size", "seed", "classes") if earlier.get(k) != plan[k]]
        if changed:
            raise DataError(
                f"{root}: holds a world with another {', '.join(changed)} "
                f"({', '.join(f'{k} {earlier.get(k)}' for k in changed if k != 'classes') or 'list of classes'}). "
                "Build into an empty folder, or give the same options to finish that one."
            )
        _refuse_fewer(root, config)
        plan["domains"] = sorted({*earlier["domains"], *config.domains}, key=DOMAINS.index)
    write_atomic(path, json.dumps(plan, indent=1) + "\n")


def _refuse_fewer(root: Path, config: WorldConfig) -> None:
    """Raise DataError if a split has finished pictures that the build would remove."""
    for domain in config.domains:
        for split in SPLITS:
            records = map(read_record, split_folder(root, domain, split).glob("shard-*.tar"))
            there = sum(len(record.samples) for record in records if record is not None)
            wanted = config.scenes(domain, split) * VIEWS[domain]
            if there > wanted:
                raise DataError(
                    f"{root}: holds {there} pictures of {domain}, {split}, and these options ask for {wanted}. A world "
                    "only grows: give more images or other shares, or build into an empty folder."
                )


def read_world(root: Path) -> dict:
    """Read the `world.json` of a world.

    Raises:
        DataError: if the folder holds no world.
    """
    path = root / WORLD_FILE
    try:
        plan = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(
            f"{root}: no world here ({WORLD_FILE} is missing). "
            f"Make one: codistill world build --out {root} --images 600"
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    if not isinstance(plan, dict) or not {"domains", "size", "seed", "classes"} <= set(plan):
        raise DataError(f"{path}: not the file of a world")
    if plan.get("format") != FORMAT:
        raise DataError(
            f"{root}: holds a world of format {plan.get('format')}, and this version reads format {FORMAT}. Build it "
            "again into an empty folder, with the same options: the pictures will be the same."
        )
    return plan

"""Pack any source into tar shards: in parallel, resumable, hashed.

Shard k always holds images k * n to (k + 1) * n of the source. A shard with a record beside it is finished and is kept,
unless its images have changed. After an interruption, the same call resumes. The same holds for shards in a store.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from codistill.data.shard_folder import ShardFolder, shard_folder
from codistill.data.shard_format import ShardRecord
from codistill.data.shards import encode_key
from codistill.data.source import Source
from codistill.errors import ConfigError, DataError
from codistill.files.hashes import text_sha256
from codistill.files.listing import IMAGE_SUFFIXES, say
from codistill.imaging import decode_rgb

_PLAN_NAME = "pack.json"


def pack_source(
    source: Source,
    folder: Path | str,
    *,
    images_per_shard: int = 5000,
    workers: int = 4,
    members: Sequence[str] = (),
    check: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[tuple[str, str]]:
    """Write all images of a source, byte for byte, into tar shards with an index.

    Args:
        source: the source to pack.
        folder: folder of the shards, created if missing; or its address.
        images_per_shard: number of images in each shard but the last.
        workers: shards written at the same time, each by a thread.
        members: further files of each sample, e.g. `depth.png`; see `Source.read_member`.
        check: decode every image, and leave out those that a loader would count as bad.
        progress: called with (images done, images in all) after each shard.

    Returns:
        (name, reason) of the images that were left out because they could not be read, or decoded if `check` is set.

    Raises:
        DataError: if the folder holds other shards, another process packs into it, or it cannot be written; finished
            shards are kept.
        StoreError: if a store that is read or written fails for longer than is waited; finished shards are kept.
    """
    if images_per_shard < 1 or workers < 1:
        raise ConfigError(f"images_per_shard and workers must be positive; got {images_per_shard}, {workers}")
    count = -(-len(source) // images_per_shard)
    with shard_folder(folder) as target:
        _check_plan(target, source, images_per_shard, members, check)
        records: dict[str, ShardRecord] = {}
        done = 0
        with ThreadPoolExecutor(workers) as pool:
            jobs = {}
            for number in range(count):
                items = range(number * images_per_shard, min((number + 1) * images_per_shard, len(source)))
                name = f"shard-{number:06d}.tar"
                jobs[pool.submit(_pack_one, source, target, name, items, members, check)] = name
            try:
                for job in as_completed(jobs):
                    record = records[jobs[job]] = job.result()
                    done += len(record.samples) + len(record.skipped)
                    if progress is not None:
                        progress(done, len(source))
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
        target.write_index({name: records[name] for name in sorted(records)})
    return sorted(pair for record in records.values() for pair in record.skipped)


def _pack_one(
    source: Source, target: ShardFolder, name: str, items: range, members: Sequence[str], check: bool
) -> ShardRecord:
    now = _stamps(source, items)
    record = target.record(name)
    if record is not None and now in (record.source_sha256, ""):
        return record
    if record is not None and record.source_sha256:
        say(
            f"{target.where}/{name}: images {items.start} to {items.stop - 1} have changed since; it is packed again"
        )
    elif record is not None:
        return record  # packed by a version that stored no stamps
    skipped: list[tuple[str, str]] = []
    return target.write_shard(name, _samples(source, items, members, check, skipped), skipped, now)


def _stamps(source: Source, items: range) -> str:
    """SHA-256 of the sizes and times of change of some images; empty if they are not known."""
    stamps = [source.stamp_of(index) for index in items]
    if not any(stamps):
        return ""
    text = json.dumps([None if stamp is None else [stamp.size, stamp.modified_ns] for stamp in stamps])
    return text_sha256(text)


def _samples(
    source: Source, items: range, members: Sequence[str], check: bool, skipped: list[tuple[str, str]]
) -> Iterator[tuple[str, dict[str, bytes]]]:
    keys: set[str] = set()
    for index in items:
        name = source.name_of(index)
        stem, _, extension = name.rpartition(".")
        if not name.lower().endswith(IMAGE_SUFFIXES):
            skipped.append(
                (name, "its name does not end like an image's, so it would not be found in a shard")
            )
            continue
        try:
            sample = {extension: source.read(index)}
            sample |= {member: source.read_member(index, member) for member in members}
        except DataError as error:
            skipped.append((name, str(error)))
            continue
        if not sample[extension]:
            skipped.append((name, "the file is empty (0 bytes)"))
            continue
        if check:
            try:
                decode_rgb(sample[extension], name=name)
            except DataError as error:
                skipped.append((name, str(error).removeprefix(f"{name}: ")))
                continue
        # Two images may have the same stem (a.jpg, a.png), and a list may name one twice.
        key = next(key for key in map(encode_key, (stem, name, f"{name}.{index}")) if key not in keys)
        keys.add(key)
        yield key, sample


def _check_plan(
    target: ShardFolder, source: Source, images_per_shard: int, members: Sequence[str], check: bool
) -> None:
    """Record the source and options, or compare them with those of an earlier call."""
    digest = hashlib.sha256()
    for index in range(len(source)):
        digest.update(source.name_of(index).encode() + b"\0")
    plan = {
        "images": len(source),
        "images_per_shard": images_per_shard,
        "members": list(members),
        "names_sha256": digest.hexdigest(),
        "checked": check,
    }
    text = target.read_text(_PLAN_NAME)
    if text is None:
        if target.has_shards():
            raise DataError(
                f"{target.where}: holds tar files that were not packed here; give an empty folder"
            )
        target.write_text(_PLAN_NAME, json.dumps(plan, indent=1) + "\n")
        return
    try:
        earlier = json.loads(text)
    except ValueError as error:
        raise DataError(
            f"{target.where}/{_PLAN_NAME}: damaged: {error}. Pack into an empty folder."
        ) from None
    before = {"checked": False, **earlier} if isinstance(earlier, dict) else {}
    changed = [key for key in plan if before.get(key) != plan[key]]
    if changed:
        raise DataError(
            f"{target.where}: shards of something else were begun here ({', '.join(changed)} differ). Pack into an "
            "empty folder, or give the same source and options to resume."
        )

"""Find shards whose images changed, by the file stamps in their headers, so that they are written again."""

import json
from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open

from codistill.data import Source
from codistill.files.inputs import Inputs, Stamper, compare
from codistill.files.writing import remove_quietly
from codistill.tasks.extraction.layout import INDEX, FeatureSpec, shard_path

HEADER = "inputs"
"""Key of the inputs in a shard's header."""


def shard_inputs(source: Source, rows: Sequence[int]) -> Inputs:
    """Inputs of some images: their names in the source, and the stamps of the files that contain them."""
    stamper = Stamper()
    return Inputs(
        tuple(
            (
                (source.name_of(row), _stamp_text(source, row)),
                *((path.name, stamper.part(path)[1]) for path in source.files_of(row)),
            )
            for row in rows
        )
    )


def _stamp_text(source: Source, row: int) -> str:
    """Text that distinguishes an image without a file (one in a store) from a later version; empty if it has files."""
    stamp = None if source.files_of(row) else source.stamp_of(row)
    return "" if stamp is None else f"{stamp.size} {stamp.modified_ns}"


def changed_shards(
    folder: Path, spec: FeatureSpec, source: Source, shards: Sequence[int]
) -> tuple[list[int], str]:
    """Find the shards that exist but hold other images than the source has now.

    Returns:
        Their numbers, and a description of the first one's change.
    """
    stale, text = [], ""
    for shard in shards:
        path = shard_path(folder, shard)
        if not path.exists():
            continue
        old, new = _inputs_of(path), shard_inputs(source, spec.rows_of(shard))
        if old != new:
            stale.append(shard)
            text = text or (f"damaged: {path.name}" if old is None else compare(old, new, by_place=True).text)
    return stale, text


def remove_shards(folder: Path, stale: Sequence[int]) -> None:
    """Remove some shards; the index is removed first, so that the folder counts as unfinished."""
    remove_quietly(folder / INDEX)
    for shard in stale:
        remove_quietly(shard_path(folder, shard))


def surplus_shards(folder: Path, spec: FeatureSpec) -> list[int]:
    """Shards beyond the last one, with images that the source no longer has."""
    numbers = (int(path.stem.removeprefix("shard_")) for path in folder.glob("shard_*.safetensors"))
    return sorted(number for number in numbers if number >= spec.shards)


def _inputs_of(path: Path) -> Inputs | None:
    try:
        with safe_open(str(path), framework="pt") as file:
            rows = json.loads((file.metadata() or {})[HEADER])
        return Inputs(tuple(tuple((name, stamp) for name, stamp in parts) for parts in rows))
    except (OSError, SafetensorError, KeyError, ValueError, TypeError):
        return None

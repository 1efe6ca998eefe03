"""`codistill inspect` of manifests (Parquet, Arrow) and shards (tar): schema, rows, samples, files."""

import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from codistill.errors import DataError


def describe_manifest(path: Path) -> dict[str, Any]:
    """Rows, columns and the first few rows of a table.

    Raises:
        DataError: if the file is damaged.
    """
    try:
        if path.suffix.lower() == ".parquet":
            file = pq.ParquetFile(path)
            schema, rows = file.schema_arrow, file.metadata.num_rows
            first = next(file.iter_batches(batch_size=3), None)
        else:
            with pa.memory_map(str(path)) as source:
                reader = pa.ipc.open_file(source)
                batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
                schema, rows = reader.schema, sum(batch.num_rows for batch in batches)
                first = batches[0].slice(0, 3) if batches else None
                examples = _examples(first)
                return _table(path, schema, rows, examples)
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{path}: damaged or no {path.suffix} table ({str(error).splitlines()[0]})"
        ) from error
    return _table(path, schema, rows, _examples(first))


def describe_shard(path: Path) -> dict[str, Any]:
    """Number of samples, files by suffix, and the first few names of a tar shard (WebDataset layout).

    Raises:
        DataError: if the file is damaged.
    """
    endings: Counter[str] = Counter()
    samples: set[str] = set()
    names: list[str] = []
    size = 0
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                if not member.isfile():
                    continue
                folder, _, base = member.name.rpartition("/")
                key, _, ending = base.partition(".")
                samples.add(f"{folder}/{key}")
                endings[f".{ending}"] += 1
                size += member.size
                if len(names) < 3:
                    names.append(member.name)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DataError(f"{path}: damaged or no tar archive ({error}). Copy it again.") from error
    return {
        "kind": "shard",
        "samples": len(samples),
        "files": sum(endings.values()),
        "bytes": size,
        "endings": dict(endings.most_common()),
        "first files": names,
        "index beside it": "yes" if path.with_name(f"{path.name}.json").exists() else "no",
    }


def _examples(batch: pa.RecordBatch | None) -> list[dict[str, Any]]:
    return (
        []
        if batch is None
        else [{k: str(v)[:80] for k, v in row.items()} for row in batch.slice(0, 3).to_pylist()]
    )


def _table(path: Path, schema: pa.Schema, rows: int, examples: list[dict[str, Any]]) -> dict[str, Any]:
    metadata = {
        key.decode(errors="replace"): value.decode(errors="replace")[:200]
        for key, value in (schema.metadata or {}).items()
        if not key.startswith(b"ARROW") and key != b"pandas"
    }
    return {
        "kind": "manifest" if path.suffix.lower() == ".parquet" else "mapped manifest",
        "rows": rows,
        "columns": {field.name: str(field.type) for field in schema},
        "metadata": metadata,
        "first rows": examples,
    }

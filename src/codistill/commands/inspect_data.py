"""`codistill inspect` of manifests (Parquet, Arrow) and shards (tar): schema, rows, samples, files."""

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from codistill.data.shard_format import record_path, split_member
from codistill.data.tar_members import read_entries
from codistill.errors import DataError
from codistill.files.listing import PassedOver


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
        DataError: if the file is damaged or cut short.
    """
    passed = PassedOver()
    files = list(read_entries(path, passed))
    split = [split_member(file.path) for file in files]
    return {
        "kind": "shard",
        "samples": len({key for key, _ in split}),
        "files": len(files),
        "bytes": sum(file.size for file in files),
        "endings": dict(Counter(f".{ending}" for _, ending in split).most_common()),
        "first files": [file.path for file in files[:3]],
        "passed over": str(passed),
        "index beside it": "yes" if record_path(path).exists() else "no",
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

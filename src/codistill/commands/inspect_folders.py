"""`codistill inspect` of folders with data: an embedded world, extracted features."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from codistill.files.json_files import read_json
from codistill.files.listing import list_folders
from codistill.tasks.extraction.layout import INDEX, SPEC, missing_shards, read_spec
from codistill.tasks.extraction.read import Features
from codistill.world.build import WORLD_FILE

LISTED_CLASSES = 12


def describe_folder(path: Path) -> dict[str, Any] | None:
    """Content of a world or a folder of features; None for any other folder.

    Raises:
        CodistillError: if it is damaged.
    """
    if (path / WORLD_FILE).is_file():
        return _world(path)
    return _features(path) if (path / SPEC).is_file() else None


def _world(path: Path) -> dict[str, Any]:
    about = read_json(path / WORLD_FILE)
    classes = list(about.pop("classes", []))
    splits = [
        {
            "domain": domain.name,
            "split": split.name,
            "shards": len(list(split.glob("*.tar"))),
            "bytes": sum(file.stat().st_size for file in split.glob("*.tar")),
        }
        for domain in list_folders(path)
        for split in list_folders(domain)
    ]
    more = f", … ({len(classes)} in all)" if len(classes) > LISTED_CLASSES else ""
    named = ", ".join(map(str, classes[:LISTED_CLASSES])) + more
    return {
        "kind": "embedded world",
        "licence": "made here: yours",
        **about,
        "classes": named,
        "splits": splits,
    }


def _features(path: Path) -> dict[str, Any]:
    spec = read_spec(path)
    described: dict[str, Any] = {"kind": "extracted features", **asdict(spec), "shards": spec.shards}
    missing = missing_shards(path, spec)
    if missing or not (path / INDEX).is_file():
        return described | {
            "missing": f"{len(missing)} of {spec.shards} shards: the same extraction again resumes"
        }
    features = Features(path)
    return described | {"images there": len(features), "first images": list(features.names[:3])}

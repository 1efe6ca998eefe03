"""Open a `Source` from a `SourceConfig`: find the kind of its path, and check the number of its images."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from codistill.data.file_openers import open_folder, open_list, open_manifest_source
from codistill.data.generated import GeneratedSource
from codistill.data.remote.opening import MANIFEST_NAME, no_images_advice, resolve_url
from codistill.data.remote.shards import open_remote_shards
from codistill.data.shard_index import INDEX_NAME
from codistill.data.shards import open_shards
from codistill.data.source import Source, SourceConfig, expand
from codistill.errors import DataError
from codistill.files.listing import ARCHIVES, IMAGE_SUFFIXES, PassedOver, walk_files
from codistill.files.remote.config import RemoteConfig
from codistill.files.urls import is_url


def _shards(config: SourceConfig, remote: RemoteConfig) -> Source:
    place = expand(config.path, config.name)
    return open_remote_shards(config, place, remote) if is_url(place) else open_shards(config)


_OPENERS: dict[str, Callable[[SourceConfig, RemoteConfig], Source]] = {
    "folder": open_folder,
    "list": open_list,
    "manifest": open_manifest_source,
    "shards": _shards,
    "generated": lambda config, _: GeneratedSource(config),
}
DEFAULT_REMOTE = RemoteConfig()


def open_source(config: SourceConfig, remote: RemoteConfig = DEFAULT_REMOTE) -> Source:
    """Open a source; `remote` says how it is read if it is in a store.

    With kind `auto`:

    * a .parquet file is a manifest, any other file a text list;
    * a folder with `manifest.parquet` is that manifest;
    * a folder with `index.parquet`, or with .tar files and no image anywhere below it, holds shards;
    * any other folder is a folder of images.

    If the path does not exist, it is tried with .parquet and .txt added. For an address, see `resolve_url`.

    Raises:
        DataError: if it is missing or damaged, or has fewer images than `config.expected`.
        StoreError: if it is in a store that refuses it, or fails for longer than `remote.patience`.
    """
    config, kind = resolve(config, remote)
    source = _OPENERS[kind](config, remote)
    place = expand(config.path, config.name)
    if len(source) < max(1, config.expected):
        wanted = f", {config.expected} are expected" if config.expected else ""
        filtered = " that pass include and exclude" if config.include or config.exclude else ""
        passed = f" Passed over: {source.passed}." if source.passed else ""
        if (
            not len(source)
            and kind == "folder"
            and is_url(place)
            and (advice := no_images_advice(config, place, remote))
        ):
            raise DataError(f"source {config.name!r}: no images in {place}. {advice}")
        raise DataError(
            f"source {config.name!r}: {len(source)} images{filtered} found in {place} ({kind}){wanted}.{passed} "
            f"{_advice(config, kind, len(source))}"
        )
    return source


def _advice(config: SourceConfig, kind: str, found: int) -> str:
    if found:
        return "Give the source another path, or expected=0 to accept these images."
    if config.include or config.exclude:
        return "Give the source another path, or other patterns."
    what = "a list of images" if kind == "list" else "images, or tars of them"
    return f"Give the source the path of {what} (names that end in {', '.join(IMAGE_SUFFIXES[:6])}, …)."


def resolve(config: SourceConfig, remote: RemoteConfig = DEFAULT_REMOTE) -> tuple[SourceConfig, str]:
    """Return the source with its existing path, and its kind.

    Raises:
        DataError: if nothing is at the path; names the places that were tried.
    """
    if config.kind == "generated":
        return config, config.kind
    stated = expand(config.path, config.name)
    if is_url(stated):
        return resolve_url(config, stated, remote)
    place = Path(stated)
    candidates = [place]
    if config.kind == "auto" and place.name not in ("", ".."):
        candidates += [place.with_name(place.name + ending) for ending in (".parquet", ".txt")]
    found = next((path for path in candidates if path.exists()), None)
    if found is None:
        wanted = f"; {config.expected} images are expected there" if config.expected else ""
        raise DataError(
            f"source {config.name!r}: nothing at {' or '.join(str(path) for path in candidates)} "
            f"(0 images found{wanted}). Give the folder, list, manifest or shards of this source."
        )
    kind = config.kind if config.kind != "auto" else _kind_of(found, config.name)
    if kind == "manifest" and found.is_dir():
        found = found / MANIFEST_NAME
    if kind in ("folder", "shards") and not found.is_dir():
        raise DataError(f"source {config.name!r}: {found} is a file; kind {kind!r} needs a folder")
    if kind == "list" and found.is_dir():
        raise DataError(f"source {config.name!r}: {found} is a folder; kind 'list' needs a text file")
    return replace(config, path=str(found)), kind


def _kind_of(path: Path, name: str) -> str:
    if not path.is_dir():
        if path.name.lower().endswith((*ARCHIVES, *IMAGE_SUFFIXES)):
            raise DataError(
                f"source {name!r}: {path} is one file; give its folder (of images, or of .tar shards that are not "
                "compressed), a text list, or a manifest"
            )
        return "manifest" if path.suffix.lower() == ".parquet" else "list"
    if (path / MANIFEST_NAME).exists():
        return "manifest"
    if (path / INDEX_NAME).exists():
        return "shards"
    tars = False
    for found in walk_files(path, (*IMAGE_SUFFIXES, ".tar"), PassedOver()):
        if not found.lower().endswith(".tar"):
            return "folder"
        tars = True
    return "shards" if tars else "folder"

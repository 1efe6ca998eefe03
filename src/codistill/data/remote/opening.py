"""Find out what is at an address: a manifest, a list, shards or a folder of images."""

from dataclasses import replace

from codistill.data.shard_index import INDEX_NAME
from codistill.data.source import SourceConfig
from codistill.errors import DataError
from codistill.files.listing import ARCHIVES, IMAGE_SUFFIXES
from codistill.files.remote.config import RemoteConfig
from codistill.files.remote.store import PATIENCE, find_object, list_objects
from codistill.files.urls import join_url

MANIFEST_NAME = "manifest.parquet"
_LISTS = (".txt", ".csv", ".tsv", ".lst", ".list")


def resolve_url(config: SourceConfig, url: str, remote: RemoteConfig) -> tuple[SourceConfig, str]:
    """Return the source with the address that it is read from, and its kind; see `open_source`.

    With kind `auto`, if the ending of the address does not decide, the store is asked in this order for
    `URL/manifest.parquet`, `URL/index.parquet`, `URL.parquet` and `URL.txt`. If there is none of these, the address is
    listed, as a folder of images.

    Raises:
        DataError: if it is one image or archive.
        StoreError: if the store cannot be asked.
    """
    if config.kind not in ("auto", "manifest"):
        return replace(config, path=url), config.kind
    ending = url.lower()
    if ending.endswith(".parquet"):
        return replace(config, path=url), "manifest"
    if config.kind == "manifest":
        return replace(config, path=join_url(url, MANIFEST_NAME)), "manifest"
    if ending.endswith(_LISTS):
        return replace(config, path=url), "list"
    if ending.endswith((*ARCHIVES, *IMAGE_SUFFIXES)):
        raise DataError(
            f"source {config.name!r}: {url} is one object; give the address that it lies below, a list or a manifest"
        )
    inside = join_url(url, INDEX_NAME)
    for place, path, kind in (
        (join_url(url, MANIFEST_NAME), None, "manifest"),
        (inside, url, "shards"),
        (f"{url}.parquet", None, "manifest"),
        (f"{url}.txt", None, "list"),
    ):
        if find_object(place, remote.patience) is not None:
            return replace(config, path=path or place), kind
    return replace(config, path=url), "folder"


def only_shards(url: str, patience: float = PATIENCE) -> bool:
    """Whether there are .tar objects but no images below an address."""
    names = [name.lower() for name in list_objects(url, patience)]
    return any(name.endswith(".tar") for name in names) and not any(n.endswith(IMAGE_SUFFIXES) for n in names)


def no_images_advice(config: SourceConfig, url: str, remote: RemoteConfig) -> str:
    """Advice for a folder without images that holds shards: they need an index. Empty if it holds none."""
    if not only_shards(url, remote.patience):
        return ""
    return (
        f"There are .tar shards, but no {INDEX_NAME}, which says where images lie in them. Make it with "
        f"`codistill index {config.name} --root {url}`, which reads every shard once."
    )

"""`codistill index`: list an image source into a Parquet manifest, pack it into tar shards, or check shards."""

import argparse
from pathlib import Path

from codistill.commands.parsers.index import parse, refuse
from codistill.commands.progress_bar import SampleProgress
from codistill.data.catalogue import CATALOGUE, catalogue_source
from codistill.data.manifest import filters_text, write_manifest
from codistill.data.names import table_of_paths
from codistill.data.opening import open_source, resolve
from codistill.data.packing import pack_source
from codistill.data.remote.folder import record_shards_in_store, verify_shards_in_store
from codistill.data.remote.opening import only_shards
from codistill.data.shard_format import verify_shard
from codistill.data.shard_index import record_shards, shard_files
from codistill.data.source import Source, SourceConfig, expand
from codistill.errors import ConfigError, DataError, unknown_name
from codistill.files.remote.config import RemoteConfig
from codistill.files.urls import check_url, is_url


def main(argv: list[str]) -> int:
    options = parse(argv)
    config = _config(options)
    place = expand(config.path, config.name)
    remote = _remote(options, place)
    if options.verify:
        return _verify(place)
    found, kind = resolve(config, remote)
    if kind == "folder" and is_url(found.path) and only_shards(found.path):
        kind = "shards"
    if kind == "shards" and not options.pack:
        if options.out:
            raise ConfigError(
                f"--out {options.out} would have no effect: the index of shards lies beside them"
            )
        refuse(options, ("include", "exclude"), "the index of shards names all that they hold")
        with SampleProgress("reading shards") as show:
            if is_url(found.path):
                path: Path | str = record_shards_in_store(found.path, workers=options.workers, progress=show)
            else:
                path = record_shards(Path(found.path), workers=options.workers, progress=show)
        print(f"{config.name}: {len(open_source(config, remote))} images indexed in {path}")
        return 0
    if not options.out:
        raise ConfigError(
            f"--out is missing: {'a folder' if options.pack else 'the manifest to write (.parquet)'}"
        )
    check_url(options.out, "--out")
    if options.pack:
        return _pack(options, config, remote)
    refuse(options, ("workers",), "a list is made by one process")
    return _list(options, open_source(config, remote), found, kind)


def _remote(options: argparse.Namespace, place: str) -> RemoteConfig:
    """How a store is read; since packing reads each image once, nothing is cached by default."""
    if options.cache_gb is not None and not (is_url(place) and options.pack):
        raise ConfigError("--cache-gb would have no effect: it is for --pack of images in a store")
    return RemoteConfig(cache_gb=options.cache_gb or 0.0)


def _config(options: argparse.Namespace) -> SourceConfig:
    known = options.source in CATALOGUE
    if not known and not options.root:
        raise ConfigError(
            f"{unknown_name('data set', options.source, CATALOGUE)} For images of your own give --root DIR."
        )
    if known and not options.list and not options.verify:
        base = catalogue_source(
            options.source, options.split, root=options.root, complete=not options.allow_incomplete
        )
        include, exclude = tuple(options.include), (*base.exclude, *options.exclude)
        changed = base.expected if not options.include and not options.exclude else 0
        return SourceConfig(**{**vars(base), "include": include, "exclude": exclude, "expected": changed})
    root = options.root or catalogue_source(options.source, options.split).path
    return SourceConfig(
        name=options.source,
        path=options.list or root,
        kind="list" if options.list else "auto",
        root=root if options.list else None,
        include=tuple(options.include),
        exclude=tuple(options.exclude),
    )


def _list(options: argparse.Namespace, source: Source, found: SourceConfig, kind: str) -> int:
    out, config = options.out, source.config
    if not out.endswith(".parquet"):
        raise ConfigError(f"--out {out}: a manifest is a .parquet file; for shards in a folder add --pack")
    table = table_of_paths(source.names())
    root = found.path if kind == "folder" else getattr(source, "root", found.path)
    write_manifest(table, out, root, filters_text(config.include, config.exclude))
    folders = len(table.column("folder").unique())
    print(f"{config.name}: {len(table)} images in {folders} folders of {root} listed in {out}")
    return 0


def _pack(options: argparse.Namespace, config: SourceConfig, remote: RemoteConfig) -> int:
    out = options.out
    if out.endswith(".parquet"):
        raise ConfigError(f"--out {out}: with --pack it is a folder for the shards")
    source = open_source(config, remote)
    with SampleProgress("packing images") as show:
        skipped = pack_source(
            source,
            out,
            images_per_shard=options.images_per_shard,
            workers=options.workers,
            members=options.member,
            check=options.check,
            progress=show,
        )
    for name, reason in skipped[:20]:
        print(f"left out {name}: {reason}")
    if len(skipped) == len(source):
        raise DataError(f"{config.name}: none of {len(source)} images can be packed; why is said above")
    shards = -(-len(source) // options.images_per_shard)
    print(
        f"{config.name}: {len(source) - len(skipped)} images packed into {shards} shards in {out}, "
        f"{len(skipped)} left out"
    )
    if not options.check:
        print("None was decoded: a run counts damaged ones and replaces them; --check leaves them out here.")
    return 0


def _verify(place: str) -> int:
    if is_url(place):
        count, wrong = verify_shards_in_store(place)
        if not count:
            raise DataError(f"{place}: no .tar files here")
        for text in wrong:
            print(text)
        print(f"{count - len(wrong)} of {count} shards in {place} are as they were written")
        return 1 if wrong else 0
    folder, damaged = Path(place), 0
    shards = shard_files(folder)
    if not shards:
        raise DataError(f"{folder}: no .tar files here")
    for shard in shards:
        try:
            verify_shard(shard)
        except DataError as error:
            damaged += 1
            print(error)
    print(f"{len(shards) - damaged} of {len(shards)} shards in {folder} are as they were written")
    return 1 if damaged else 0

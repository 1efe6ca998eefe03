"""`codistill index`: list an image source into a Parquet manifest, pack it into tar shards, or check shards."""

import argparse
from pathlib import Path

from codistill.commands.parsers.index import parse
from codistill.commands.progress_bar import SampleProgress
from codistill.data.catalogue import CATALOGUE, catalogue_source
from codistill.data.manifest import filters_text, write_manifest
from codistill.data.names import table_of_paths
from codistill.data.opening import open_source, resolve
from codistill.data.packing import pack_source
from codistill.data.shard_format import verify_shard
from codistill.data.shard_index import record_shards, shard_files
from codistill.data.source import SourceConfig, expand
from codistill.errors import ConfigError, DataError, unknown_name


def main(argv: list[str]) -> int:
    options = parse(argv)
    config = _config(options)
    if options.verify:
        return _verify(Path(expand(config.path, config.name)))
    found, kind = resolve(config)
    if kind == "shards" and not options.pack:
        with SampleProgress("reading shards") as show:
            path = record_shards(Path(found.path), workers=options.workers, progress=show)
        print(f"{config.name}: {len(open_source(config))} images indexed in {path}")
        return 0
    if not options.out:
        raise ConfigError(
            f"--out is missing: {'a folder' if options.pack else 'the manifest to write (.parquet)'}"
        )
    return _pack(options, config) if options.pack else _list(options, config, found, kind)


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


def _list(options: argparse.Namespace, config: SourceConfig, found: SourceConfig, kind: str) -> int:
    out = Path(options.out)
    if out.suffix != ".parquet":
        raise ConfigError(f"--out {out}: a manifest is a .parquet file; for shards in a folder add --pack")
    source = open_source(config)
    table = table_of_paths(source.name_of(index) for index in range(len(source)))
    root = found.path if kind == "folder" else getattr(source, "root", found.path)
    write_manifest(table, out, root, filters_text(config.include, config.exclude))
    folders = len(table.column("folder").unique())
    print(f"{config.name}: {len(table)} images in {folders} folders of {root} listed in {out}")
    return 0


def _pack(options: argparse.Namespace, config: SourceConfig) -> int:
    out = Path(options.out)
    if out.suffix == ".parquet":
        raise ConfigError(f"--out {out}: with --pack it is a folder for the shards")
    source = open_source(config)
    with SampleProgress("packing images") as show:
        skipped = pack_source(
            source,
            out,
            images_per_shard=options.images_per_shard,
            workers=options.workers,
            members=options.member,
            progress=show,
        )
    for name, reason in skipped[:20]:
        print(f"left out {name}: {reason}")
    print(
        f"{config.name}: {len(source) - len(skipped)} images packed into {len(shard_files(out))} shards in {out}, "
        f"{len(skipped)} left out"
    )
    return 0


def _verify(folder: Path) -> int:
    damaged = 0
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

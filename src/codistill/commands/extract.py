"""`codistill extract SOURCE --encoder E --out DIR`: dense features of an image source; the same command resumes."""

import os
from dataclasses import replace

from codistill.commands.config_flags import with_flags
from codistill.commands.parsers.extract import parse
from codistill.commands.task_config import make_runtime, with_features
from codistill.data import SourceConfig, open_source
from codistill.engine.distributed import choose_device
from codistill.errors import ConfigError
from codistill.tasks.extraction.config import Extraction
from codistill.tasks.extraction.extract import Part
from codistill.tasks.extraction.run import extract


def main(argv: list[str]) -> int:
    asked = parse(argv)
    own = asked.own
    config = with_flags(Extraction(), asked.flags.testing, "codistill extract")
    config = replace(config, features=with_features(config.features, asked.flags.features))
    part = _part(own.part)
    runtime = make_runtime(own, own.out, ["extract", *argv])
    device = choose_device(own.device, int(os.environ.get("LOCAL_RANK", "0")))
    source = open_source(SourceConfig(name="images", path=own.source))
    extract(source, config, part, replace(runtime, device=device), dry_run=own.dry_run)
    return 0


def _part(text: str | None) -> Part:
    text = text or f"{os.environ.get('RANK', '0')}/{os.environ.get('WORLD_SIZE', '1')}"
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise ConfigError(f"--part {text}: write I/N with I from 0 to N - 1, e.g. --part 0/4")
    return Part(int(index), int(count))

"""Check that each include and exclude pattern of a source matches an image; one without a match is usually mistyped.

A mistyped `exclude` would silently put held-out images into training; a mistyped `include` would lose some images.
"""

import fnmatch
import re
from dataclasses import replace

from codistill.data.opening import open_source, resolve
from codistill.data.source import SourceConfig
from codistill.errors import DataError


def check_patterns_match(config: SourceConfig) -> None:
    """Refuse globs that match no image of the source. Named patterns (`@imagenet1k`) may match nothing.

    Names are read until every pattern has matched one. A manifest may already have been filtered when it was made, so
    only its `include` is checked.

    Raises:
        DataError: names the patterns; also if the source cannot be opened, see `open_source`.
    """
    globs = [pattern for pattern in (*config.include, *config.exclude) if not pattern.startswith("@")]
    if not globs:
        return
    resolved, kind = resolve(config)
    if kind == "manifest":
        globs = [pattern for pattern in globs if pattern in config.include]
    source = open_source(replace(resolved, include=(), exclude=(), expected=0))
    left = {pattern: re.compile(fnmatch.translate(pattern)).match for pattern in globs}
    for index in range(len(source)):
        if not left:
            return
        name = source.name_of(index)
        left = {pattern: match for pattern, match in left.items() if match(name) is None}
    if left:
        raise DataError(
            f"source {config.name!r}: {', '.join(map(repr, left))} among include and exclude matches none of its "
            f"{len(source)} images (e.g. {source.name_of(0)!r}); correct it or leave it out"
        )

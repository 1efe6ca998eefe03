"""Names stay below their root: lists, manifests and indices name files relative to a folder and inside it.

They come from other people: a line `/etc/passwd` or `../../secret.png` must not read such a file. Absolute paths are
accepted below the root. Links are followed: data sets are made of links, and whoever can put one into the root could
put the file there.
"""

import os
import posixpath
import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from codistill.errors import DataError
from codistill.files.urls import is_url, object_url

_PARENT = re.compile(r"(?:^|/)\.\.(?:/|$)")
_ODD_ROW = r"^/|(?:^|/)\.\.(?:/|$)"


def relative_name(name: str, root: str) -> str | None:
    """The name relative to the root, without `..`; None if it leaves the root."""
    if name.startswith("/"):
        above = os.path.abspath(root).rstrip("/") + "/"  # noqa: PTH100
        plain = posixpath.normpath(name)
        return plain.removeprefix(above) if plain.startswith(above) else None
    if not _PARENT.search(name):
        return name
    plain = posixpath.normpath(name)
    return None if plain == ".." or plain.startswith("../") else plain


def path_below(name: str, root: str) -> str:
    """The file of a name.

    Raises:
        DataError: if the name leaves the root.
    """
    inside = relative_name(name, root)
    if inside is None:
        raise leaves_root(repr(name), root)
    return object_url(root, inside) if is_url(root) else os.path.join(root, inside)  # noqa: PTH118


def leaves_root(where: str, root: str) -> DataError:
    """The error for a name outside of the root; `where` names its origin."""
    above = root if is_url(root) else os.path.abspath(root)  # noqa: PTH100
    return DataError(
        f"{where} lies outside of the root {above}: a list, manifest or index names files below its root. Move the "
        "files, or give a root that holds them: `root` of the source (--source NAME,DOMAIN,PATH,root=DIR), --root of "
        "`codistill index`."
    )


def odd_rows(table: pa.Table) -> int:
    """Rows of a table of folders and files whose path is absolute or has a part `..`."""
    count = 0
    for batch in table.to_batches():
        folders = batch.column("folder")
        odd = _matches(folders.dictionary)[folders.indices.to_numpy()] | _matches(batch.column("file"))
        count += int(odd.sum())
    return count


def _matches(texts: pa.Array) -> np.ndarray:
    found = pc.call_function("match_substring_regex", [texts], pc.MatchSubstringOptions(_ODD_ROW))
    return found.to_numpy(zero_copy_only=False).astype(bool)

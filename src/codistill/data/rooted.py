"""Keep names below their root: lists, manifests and indices may only name files inside a folder.

They come from other people: a line `/etc/passwd` or `../../secret.png` must not read such a file. Absolute paths below
the root are accepted. Links are followed: data sets are often made of links, and whoever can put a link into the root
could put the file itself there.
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
    """Return the name relative to the root, without `..`; None if it leads out of the root."""
    if name.startswith("/"):
        above = os.path.abspath(root).rstrip("/") + "/"  # noqa: PTH100
        plain = posixpath.normpath(name)
        return plain.removeprefix(above) if plain.startswith(above) else None
    if not _PARENT.search(name):
        return name
    plain = posixpath.normpath(name)
    return None if plain == ".." or plain.startswith("../") else plain


def path_below(name: str, root: str) -> str:
    """Return the file or address of a name.

    Raises:
        DataError: if the name leads out of the root.
    """
    inside = relative_name(name, root)
    if inside is None:
        raise leaves_root(repr(name), root)
    return object_url(root, inside) if is_url(root) else os.path.join(root, inside)  # noqa: PTH118


def leaves_root(where: str, root: str) -> DataError:
    """Make the error for a name outside of the root; `where` says where the name comes from."""
    above = root if is_url(root) else os.path.abspath(root)  # noqa: PTH100
    return DataError(
        f"{where} lies outside of the root {above}: a list, manifest or index names files below its root. Move the "
        "files, or give a root that holds them: `root` of the source (--source NAME,DOMAIN,PATH,root=DIR), --root of "
        "`codistill index`."
    )


def odd_rows(table: pa.Table) -> int:
    """Number of rows in a table of folders and files whose path is absolute or contains `..`."""
    count = 0
    for batch in table.to_batches():
        folders = batch.column("folder")
        odd = _matches(folders.dictionary)[folders.indices.to_numpy()] | _matches(batch.column("file"))
        count += int(odd.sum())
    return count


def _matches(texts: pa.Array) -> np.ndarray:
    found = pc.call_function("match_substring_regex", [texts], pc.MatchSubstringOptions(_ODD_ROW))
    return found.to_numpy(zero_copy_only=False).astype(bool)
